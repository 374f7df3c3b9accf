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
// reset, the switch or the rollback. They are kept as the facts they are made of and become Effect values when they
// are looked at: a box per effect would cost Step more than everything else it does.
type Effects struct {
	rolloutID, host string
	payload         Payload
	at              time.Time
	channel         string
	closure         string // of the quarantine, the switch or the rollback: no event has two of them
	n               uint8
	kinds           [MaxEffects]effectKind
	durable         bool
	from, to        State
}

// effectKind says what an entry of Effects becomes.
type effectKind uint8

const (
	localEmit effectKind = iota
	remoteAppend
	transition
	quarantine
	reset
	fireSwitch
	fireRollback
)

// Len returns how many there are, 0 to MaxEffects.
func (e *Effects) Len() int { return int(e.n) }

// At returns the i-th, 0 <= i < Len, and nil beyond.
func (e *Effects) At(i int) Effect {
	if i >= e.Len() {
		return nil
	}
	switch e.kinds[i] {
	case localEmit:
		return LocalEmitEvent{RolloutID: e.rolloutID, Payload: e.payload, Durable: e.durable}
	case remoteAppend:
		return RemoteAppendEventLog{Host: e.host, RolloutID: e.rolloutID, Payload: e.payload}
	case transition:
		return RecordTransition{Host: e.host, RolloutID: e.rolloutID, From: e.from, To: e.to, At: e.at}
	case quarantine:
		return RemoteInsertQuarantine{Channel: e.channel, Closure: e.closure}
	case reset:
		return LocalResetProbeCache{RolloutID: e.rolloutID}
	case fireSwitch:
		return LocalFireSwitch{RolloutID: e.rolloutID, Target: e.closure}
	case fireRollback:
		return LocalFireRollbackTo{RolloutID: e.rolloutID, Closure: e.closure}
	}
	return nil
}

// All returns them as a new slice.
func (e *Effects) All() []Effect {
	all := make([]Effect, e.n)
	for i := range all {
		all[i] = e.At(i)
	}
	return all
}

func (e *Effects) add(k effectKind) {
	e.kinds[e.n] = k
	e.n++
}
