package activation

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Outcome is how one attempt to switch ended. docs/design/06-activation-and-probes.md, 6.1.
//
//sumtype:decl
type Outcome interface {
	isOutcome()
	// ExitCode is the exitCode that goes on the wire.
	ExitCode() int32
	// Tail is the stderrTail that goes on the wire: why, then the end of the output, at most MaxTail bytes of
	// valid UTF-8.
	Tail() string
}

// Exit codes that no program gives: what ended the attempt was not the switch itself.
const (
	ExitRealiseFailed     int32 = -1
	ExitSignatureMismatch int32 = -2
	ExitVerifyMismatch    int32 = -3
	ExitTimedOut          int32 = -4
	ExitLost              int32 = -5 // the unit died without a result, or could not be started
)

// MaxTail bounds the output kept of a switch: what the protocol carries as stderrTail.
const MaxTail = 4096

// Completed: the switch succeeded and the host runs Closure.
type Completed struct{ Closure, Output string }

// Deferred: set for boot; a live switch would swap Component under a running system.
type Deferred struct{ Component, Output string }

// SignatureMismatch: the closure is not what was signed. Nothing was changed.
type SignatureMismatch struct{ Reason string }

// RealiseFailed: the closure could not be had. Nothing was changed.
type RealiseFailed struct{ Reason string }

// SwitchFailed: the switch, or getting it going, failed in Phase with exit code Exit.
type SwitchFailed struct {
	Phase  Phase
	Exit   int32
	Output string
}

// VerifyMismatch: the switch ended, or still ran, and the host ran Observed instead of the target.
type VerifyMismatch struct{ Observed, Output string }

// TimedOut: the attempt took longer than the policy allows. Its unit is gone.
type TimedOut struct {
	Phase  Phase
	After  time.Duration
	Output string
}

func (Completed) isOutcome()         {}
func (Deferred) isOutcome()          {}
func (SignatureMismatch) isOutcome() {}
func (RealiseFailed) isOutcome()     {}
func (SwitchFailed) isOutcome()      {}
func (VerifyMismatch) isOutcome()    {}
func (TimedOut) isOutcome()          {}

// ExitCode is 0.
func (Completed) ExitCode() int32 { return 0 }

// ExitCode is 0: deferring is not failing.
func (Deferred) ExitCode() int32 { return 0 }

// ExitCode is ExitSignatureMismatch.
func (SignatureMismatch) ExitCode() int32 { return ExitSignatureMismatch }

// ExitCode is ExitRealiseFailed.
func (RealiseFailed) ExitCode() int32 { return ExitRealiseFailed }

// ExitCode is that of the phase that failed.
func (o SwitchFailed) ExitCode() int32 { return o.Exit }

// ExitCode is ExitVerifyMismatch.
func (VerifyMismatch) ExitCode() int32 { return ExitVerifyMismatch }

// ExitCode is ExitTimedOut.
func (TimedOut) ExitCode() int32 { return ExitTimedOut }

// Tail is the end of the output.
func (o Completed) Tail() string { return Tail(o.Output) }

// Tail is the end of the output.
func (o Deferred) Tail() string { return Tail(o.Output) }

// Tail is the reason.
func (o SignatureMismatch) Tail() string { return Tail(o.Reason) }

// Tail is the reason.
func (o RealiseFailed) Tail() string { return Tail(o.Reason) }

// Tail names the phase, then gives the end of the output.
func (o SwitchFailed) Tail() string {
	return explained(fmt.Sprintf("switch failed in phase %s with exit %d", o.Phase, o.Exit), o.Output)
}

// Tail names what the host runs, then gives the end of the output.
func (o VerifyMismatch) Tail() string {
	return explained(fmt.Sprintf("current-system is %q", o.Observed), o.Output)
}

// Tail names the phase and the time, then gives the end of the output.
func (o TimedOut) Tail() string {
	return explained(fmt.Sprintf("timed out in phase %s after %s", o.Phase, o.After), o.Output)
}

// explained puts why before the output, cutting the output's beginning where both do not fit.
func explained(why, output string) string {
	why = Tail(why)
	room := MaxTail - len(why) - 1
	if output == "" || room <= 0 {
		return why
	}
	return why + "\n" + lastBytes(output, room)
}

// Tail returns the last MaxTail bytes of s as valid UTF-8, cut between runes.
func Tail(s string) string { return lastBytes(s, MaxTail) }

func lastBytes(s string, limit int) string {
	// Each invalid byte becomes one '?', so that the text never grows beyond the limit again.
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError {
			return '?'
		}
		return r
	}, s[max(0, len(s)-limit-utf8.UTFMax):])
	if len(s) <= limit {
		return s
	}
	cut := len(s) - limit
	for cut < len(s) && !utf8.RuneStart(s[cut]) {
		cut++
	}
	return s[cut:]
}
