package host

import "time"

// Effect describes I/O to do, or something to observe. Effects are values: they can be journaled, compared and
// re-issued after a crash.
//
//sumtype:decl
type Effect interface{ isEffect() }

// LocalFireSwitch starts the forward switch. Local only.
type LocalFireSwitch struct{ RolloutID, Target string }

// LocalFireRollbackTo switches back to Closure. Local only.
type LocalFireRollbackTo struct{ RolloutID, Closure string }

// LocalResetProbeCache drops all probe tickers and results and reloads the declarations. Local only.
type LocalResetProbeCache struct{ RolloutID string }

// LocalEmitEvent queues an event for the control plane. Every one is journaled; only those that are not Durable (the
// three per-probe kinds) may be coalesced. Local only.
type LocalEmitEvent struct {
	RolloutID string
	Payload   Payload
	Durable   bool
}

// RemoteAppendEventLog appends the event to the control plane's log. Remote only.
type RemoteAppendEventLog struct {
	Host      string
	RolloutID string
	Payload   Payload
}

// Payload is the wire event: the body with its seq, encoded by package wire.
type Payload struct {
	Seq   uint64
	Event Event
}

// RemoteInsertQuarantine refuses Closure on Channel from now on. Remote only.
type RemoteInsertQuarantine struct{ Channel, Closure string }

// RecordTransition reports a change of state. Exactly one per change, on both sides.
type RecordTransition struct {
	Host      string
	RolloutID string
	From, To  State
	At        time.Time // the event's own time
}

// EmitMetric adds Value to the counter called Name. Both sides; made by the cores, never by Step.
type EmitMetric struct {
	Name  string
	Value float64
}

// EmitLog is a log line as data. Both sides; made by the cores, never by Step.
type EmitLog struct {
	Level   int // as in log/slog: -4 debug, 0 info, 4 warn, 8 error
	Message string
	Attrs   []string // alternating keys and values
}

func (LocalFireSwitch) isEffect()        {}
func (LocalFireRollbackTo) isEffect()    {}
func (LocalResetProbeCache) isEffect()   {}
func (LocalEmitEvent) isEffect()         {}
func (RemoteAppendEventLog) isEffect()   {}
func (RemoteInsertQuarantine) isEffect() {}
func (RecordTransition) isEffect()       {}
func (EmitMetric) isEffect()             {}
func (EmitLog) isEffect()                {}

// AllEffects holds one value of every effect type; a test compares it with the types that carry the marker.
var AllEffects = []Effect{
	LocalFireSwitch{},
	LocalFireRollbackTo{},
	LocalResetProbeCache{},
	LocalEmitEvent{},
	RemoteAppendEventLog{},
	RemoteInsertQuarantine{},
	RecordTransition{},
	EmitMetric{},
	EmitLog{},
}

// MaxEffects is how many effects one event has at most: an emission, a transition, and one thing to do. The bound
// lets Step return them by value.
const MaxEffects = 3

// Effects are what one Step asks for, in the order they must be carried out: emit, transition, quarantine, then the
// reset, the switch or the rollback.
type Effects struct {
	n    int
	list [MaxEffects]Effect
}

// Len returns how many there are, 0 to MaxEffects.
func (e *Effects) Len() int { return e.n }

// At returns the i-th, 0 <= i < Len.
func (e *Effects) At(i int) Effect { return e.list[i] }

// All returns them as a slice that the caller must not change.
func (e *Effects) All() []Effect { return e.list[:e.n] }

func (e *Effects) add(x Effect) {
	e.list[e.n] = x
	e.n++
}
