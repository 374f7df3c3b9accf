package activation

import (
	"context"
	"errors"

	"nixfleet/clock"
)

// Backend is one way of holding closures and switching a host to them. Closures are store basenames; every method
// that is given one refuses a name that is not tight enough with ErrClosureName before it comes near a path or an
// argument list. Methods block at most for as long as ctx lives. docs/design/06-activation-and-probes.md, 6.1.
type Backend interface {
	// Method is the switchMethod that ActivationStarted carries.
	Method() string
	// Current returns the closure that the host runs.
	Current(ctx context.Context) (closure string, err error)
	// Profile returns the closure that the host would boot, "" if none is set.
	Profile(ctx context.Context) (closure string, err error)
	// SetProfile makes closure the one to boot.
	SetProfile(ctx context.Context, closure string) error
	// Busy says whether a switch runs at this moment, whoever started it.
	Busy(ctx context.Context) (bool, error)
	// Realise brings the closure to this host and verifies it, before anything changes. A closure that is there
	// but is not what its name says is of class ErrSignatureMismatch; everything else means it could not be had.
	Realise(ctx context.Context, closure string) error
	// Switch fires the switch as unit and returns as soon as the unit can be observed. The unit survives the death
	// of whoever called. An error means that nothing was started.
	Switch(ctx context.Context, closure, unit string) error
	// Unit says how the unit fares. A unit that was never fired is not running and has no result.
	Unit(ctx context.Context, unit string) (UnitState, error)
	// Stop ends a running unit: asked first, killed after a grace of 30 s. Returns once it is gone.
	Stop(ctx context.Context, unit string) error
	// Pin keeps the closure from being collected until Unpin. Both are idempotent.
	Pin(ctx context.Context, closure string) error
	Unpin(ctx context.Context, closure string) error
	// Pinned returns the pinned closures in order of name.
	Pinned(ctx context.Context) ([]string, error)
}

// UnitState is how a fired switch fares.
type UnitState struct {
	Running bool
	Started clock.Reading // zero if the unit was never fired
	Result  *Result       // nil until the unit ended by itself
	Output  string        // the last MaxTail bytes of its output so far
}

// Result is what a unit wrote when it ended by itself. It outlives the unit and the agent.
type Result struct {
	Unit      string        `json:"unit"`
	Closure   string        `json:"closure"`
	Phase     Phase         `json:"phase"`               // the phase it ended in; PhaseDone is success
	Exit      int32         `json:"exit"`                // exit code of the phase; 128+n for signal n
	Component string        `json:"component,omitempty"` // set for boot only, because of this component
	Output    string        `json:"output"`              // at most MaxTail bytes
	Started   clock.Reading `json:"started"`
	Ended     clock.Reading `json:"ended"`
}

// Phase is a step of a switch.
type Phase string

// The phases, in order.
const (
	PhaseBusy     Phase = "busy"     // waiting for somebody else's switch
	PhaseRealise  Phase = "realise"  // fetching and verifying
	PhaseProfile  Phase = "profile"  // setting the profile
	PhaseFire     Phase = "fire"     // starting the unit
	PhaseLock     Phase = "lock"     // the unit waits for the lock
	PhaseSwitch   Phase = "switch"   // switch-to-configuration runs
	PhaseStopped  Phase = "stopped"  // switch-to-configuration was asked to end, and did
	PhaseActivate Phase = "activate" // current-system is swapped
	PhaseObserve  Phase = "observe"  // reading current-system, the profile or the unit
	PhaseLost     Phase = "lost"     // the unit died without a word
	PhaseDone     Phase = "done"
)

// Errors of this package, told apart by errors.Is.
var (
	// ErrClosureName: not a closure name of this backend.
	ErrClosureName = errors.New("activation: not a closure name")
	// ErrUnitName: not a unit name.
	ErrUnitName = errors.New("activation: not a unit name")
	// ErrSignatureMismatch: the closure is there but is not what was signed.
	ErrSignatureMismatch = errors.New("activation: closure is not what its name says")
	// ErrNotFound: no store and no source has the closure.
	ErrNotFound = errors.New("activation: closure not found")
	// ErrTree: a tree holds something that no release may hold.
	ErrTree = errors.New("activation: tree cannot be a release")
	// ErrBusy: a switch holds the lock.
	ErrBusy = errors.New("activation: a switch is running")
)
