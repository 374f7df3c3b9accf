package journal

import (
	"errors"
	"fmt"
)

// Errors of this package, for errors.Is.
var (
	// ErrLocked: another process has the journal open.
	ErrLocked = errors.New("journal: locked")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("journal: closed")
	// ErrTooLarge: a payload is larger than MaxPayload.
	ErrTooLarge = errors.New("journal: payload too large")
	// ErrActive: the active segment can neither be removed nor rewritten.
	ErrActive = errors.New("journal: segment is the active one")
	// ErrNoSegment: there is no kept segment of that number.
	ErrNoSegment = errors.New("journal: no such segment")
	// ErrDamaged: bytes on disk are not what was written. Every Damage is one.
	ErrDamaged = errors.New("journal: damaged")
	// ErrWideDirectory: the directory may be entered by others and holds more than a journal.
	ErrWideDirectory = errors.New("journal: directory is open to others")
	// ErrOptions: Options that cannot be.
	ErrOptions = errors.New("journal: bad options")
)

// LockedError says who holds the lock. It is an ErrLocked.
type LockedError struct {
	File string
	PID  int // 0 if unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("journal: %s is held by another process", e.File)
	}
	return fmt.Sprintf("journal: %s is held by process %d", e.File, e.PID)
}

// Is makes a LockedError an ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Damage names one thing on disk that is not as it was written
// (docs/design/04-agent.md, 4.2). It is an error, and an ErrDamaged.
type Damage struct {
	File     string // name inside the journal's directory
	Offset   int64  // bytes from the start of the file; what is before it is intact
	Reason   string
	SetAside string // the second name that keeps it, inside the directory; empty if there is none
}

func (d Damage) Error() string {
	s := fmt.Sprintf("journal: %s at byte %d: %s", d.File, d.Offset, d.Reason)
	if d.SetAside != "" {
		s += " (kept as " + d.SetAside + ")"
	}
	return s
}

// Is makes every Damage an ErrDamaged.
func (d Damage) Is(target error) bool { return target == ErrDamaged }
