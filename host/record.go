package host

import (
	"fmt"
	"time"
)

// State is where a host stands in a rollout.
type State uint8

// The seven states, and no others.
const (
	Pending    State = iota // dispatch issued, host has not accepted it
	Activating              // host accepted; the switch is firing or fired
	Deferred                // set for boot, live switch refused; completes on reboot
	Soaking                 // switched; probes run; soak not over
	Converged               // soak over, probes pass, current == target. Terminal
	Failed                  // activation failed, or probes failed for the sustained window
	Reverted                // back on the closure it ran at dispatch. Terminal
)

// States lists every state in order, for tests and for views.
var States = [...]State{Pending, Activating, Deferred, Soaking, Converged, Failed, Reverted}

var stateNames = [...]string{"Pending", "Activating", "Deferred", "Soaking", "Converged", "Failed", "Reverted"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// ParseState returns the state with that name; the error lists what is allowed.
func ParseState(name string) (State, error) {
	for i, n := range stateNames {
		if n == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("host: unknown state %q, want one of %v", name, stateNames)
}

// Terminal says whether the state is never left.
func (s State) Terminal() bool { return s == Converged || s == Reverted }

// Live says whether something may still happen by itself in this state. Failed is live only while a rollback is
// owed, which [Owed] tells.
func (s State) Live() bool { return s == Activating || s == Deferred || s == Soaking }

// Mode says what a probe's result means.
type Mode uint8

// The probe modes.
const (
	Enforce  Mode = iota // gates convergence and fails the host
	Observe              // recorded only
	Disabled             // not run
)

// ModeNames are the wire names of the modes, in order.
var ModeNames = [...]string{"enforce", "observe", "disabled"}

func (m Mode) String() string {
	if int(m) < len(ModeNames) {
		return ModeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Status is the outcome of one probe run.
type Status uint8

// The probe statuses.
const (
	Pass Status = iota
	Fail
)

// StatusNames are the wire names of the statuses, in order.
var StatusNames = [...]string{"pass", "fail"}

func (s Status) String() string {
	if int(s) < len(StatusNames) {
		return StatusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// OnFailure is what the signed policy says happens to a host that fails.
type OnFailure uint8

// The failure policies. NoPolicy is the zero value of a record on which none was applied yet.
const (
	NoPolicy        OnFailure = iota
	Halt                      // stop the rollout, leave the host as it is
	RollbackAndHalt           // stop the rollout, take the host back to what it ran at dispatch
)

// OnFailureNames are the wire names of the failure policies, in order; the first is never on the wire.
var OnFailureNames = [...]string{"", "halt", "rollback-and-halt"}

func (p OnFailure) String() string {
	if int(p) < len(OnFailureNames) {
		return OnFailureNames[p]
	}
	return fmt.Sprintf("OnFailure(%d)", uint8(p))
}

// Probe is the last result of one probe. Entries are never written after they were made.
type Probe struct {
	Name           string
	Status         Status
	Mode           Mode
	LastObservedAt time.Time
	LastPassAt     time.Time // zero: never passed
	FailureReason  string    // "" on a pass
}

// Declaration is one declared probe.
type Declaration struct {
	Name string
	Mode Mode
}

// Record is one host in one rollout. A zero time and an empty string mean "not known yet"; Declared is nil until a
// topology was declared and non-nil but empty for "declared: none".
type Record struct {
	RolloutID                string
	Hostname                 string
	Channel                  string
	Wave                     uint32
	State                    State
	TargetClosure            string
	CurrentClosureAtDispatch string
	CurrentClosure           string
	RevertedTo               string
	PolicyHash               string
	DispatchedAt             time.Time
	DispatchAckedAt          time.Time
	ActivationStartedAt      time.Time
	ActivationCompletedAt    time.Time
	ActivationFailedAt       time.Time
	DeferredComponent        string
	ProbeObservedFirstAt     time.Time
	ProbeFailureFirstAt      time.Time // start of the current failure streak
	SoakDueAt                time.Time
	ConvergedAt              time.Time
	FailedAt                 time.Time
	PolicyApplied            OnFailure
	RevertedAt               time.Time
	RollbackAttempts         uint32
	SupersededBy             string        // rollout id; a record that has one refuses everything
	Declared                 []Declaration // sorted by name
	Probes                   []*Probe      // sorted by name
	LastEventSeq             uint64
}

// Probe returns the recorded result of the probe called name, nil if it has none.
func (r *Record) Probe(name string) *Probe {
	if i, ok := findProbe(r.Probes, name); ok {
		return r.Probes[i]
	}
	return nil
}

// EnforceFailing returns the names of the enforce probes whose last result is a failure, in order of name.
func (r *Record) EnforceFailing() []string {
	var names []string
	for _, p := range r.Probes {
		if p.failing() {
			names = append(names, p.Name)
		}
	}
	return names
}

func (p *Probe) failing() bool { return p.Mode == Enforce && p.Status == Fail }

// MaxProbes is how many probes a record holds, declared or recorded: a host that reports ever new names must not grow
// the mirror. A host with more than a few dozen checks has them in one evidence probe.
const MaxProbes = 256

// MaxRollbackAttempts is how often a rollback is tried before the host is left to a human.
const MaxRollbackAttempts = 3

// Owed says whether the record's host must still be taken back: it failed, its policy rolls back, what it ran at
// dispatch is known and is not the target, and it was not tried three times already.
func Owed(r *Record) bool {
	return r.State == Failed && r.PolicyApplied == RollbackAndHalt && r.RollbackAttempts < MaxRollbackAttempts &&
		r.CurrentClosureAtDispatch != "" && r.CurrentClosureAtDispatch != r.TargetClosure
}

// Policy is what the signed ticket says about time and failure. It is captured when a dispatch is accepted and is
// the policy argument of every later Step of that rollout, on both sides.
type Policy struct {
	OnHealthFailure OnFailure
	// SoakSeconds counts when HasSoak is set: a captured policy. Otherwise the soak is that of the record's wave.
	SoakSeconds uint64
	HasSoak     bool
	WaveSoaks   []uint64 // seconds per wave, of a rollout policy that is not resolved for a wave
	// HealthGate is raw JSON, nil if there is none. Carried, never interpreted here.
	HealthGate []byte
	// SustainedFailureSeconds is how long a streak lasts before the host fails.
	SustainedFailureSeconds  uint64
	ActivationTimeoutSeconds uint64
}

// DefaultSustainedFailureSeconds and DefaultActivationTimeoutSeconds hold where a policy is silent.
const (
	DefaultSustainedFailureSeconds  = 120
	DefaultActivationTimeoutSeconds = 600
)

// MaxSoakSeconds bounds every duration of a policy: a hundred years fits time.Duration and every calendar used.
const MaxSoakSeconds = 100 * 365 * 24 * 3600

// Soak returns how long a host of that wave must stay healthy after its switch.
func (p *Policy) Soak(wave uint32) time.Duration {
	seconds := p.SoakSeconds
	if !p.HasSoak {
		switch n := len(p.WaveSoaks); {
		case n == 0:
			seconds = 0
		case uint64(wave) < uint64(n):
			seconds = p.WaveSoaks[wave]
		default:
			seconds = p.WaveSoaks[n-1]
		}
	}
	return time.Duration(min(seconds, MaxSoakSeconds)) * time.Second
}

// Sustained returns how long a failure streak lasts before the host fails.
func (p *Policy) Sustained() time.Duration {
	return time.Duration(min(p.SustainedFailureSeconds, MaxSoakSeconds)) * time.Second
}

// ActivationTimeout returns how long one switch may take.
func (p *Policy) ActivationTimeout() time.Duration {
	return time.Duration(min(p.ActivationTimeoutSeconds, MaxSoakSeconds)) * time.Second
}
