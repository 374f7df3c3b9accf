package host

import (
	"errors"
	"fmt"
	"time"
)

// The classes of refusal, in the order they are checked.
var (
	ErrSeqRegression = errors.New("seq-regression") // seq is not above the last one
	ErrIllegal       = errors.New("illegal")        // the event has no place in this state
	ErrInvariant     = errors.New("invariant")      // the event contradicts what is recorded
	ErrUnknownEvent  = errors.New("unknown event")  // a type Step does not know: a programming error
)

// Refusal is an error of Step: its class, and a sentence with the facts.
type Refusal struct {
	Class  error
	Detail string
}

func (e *Refusal) Error() string { return "host: " + e.Class.Error() + ": " + e.Detail }

// Unwrap returns the class.
func (e *Refusal) Unwrap() error { return e.Class }

func illegal(e Event, in State) error {
	return &Refusal{ErrIllegal, fmt.Sprintf("%T in state %s", e, in)}
}

func invariant(format string, args ...any) error {
	return &Refusal{ErrInvariant, fmt.Sprintf(format, args...)}
}

// Step takes one event on a record and gives the next record and what must be done, in order. On an error the
// record returned is the one given and there are no effects. All times come from the event; now is part of the
// contract of every machine here and is not read. Implements docs/design/02-host-state-machine.md.
func Step(r Record, in Stamped, _ time.Time, p Policy) (Record, Effects, error) {
	var out Effects
	if err := r.admit(&in); err != nil {
		return r, out, err
	}
	if err := r.take(&in, &p, &out); err != nil {
		return r, Effects{}, err
	}
	r.LastEventSeq = in.Seq
	return r, out, nil
}

func (r *Record) admit(in *Stamped) error {
	if in.Seq <= r.LastEventSeq {
		return &Refusal{ErrSeqRegression, fmt.Sprintf("seq %d, last was %d", in.Seq, r.LastEventSeq)}
	}
	if r.SupersededBy != "" {
		return &Refusal{ErrIllegal, "superseded by " + r.SupersededBy}
	}
	return nil
}

// take changes r, which is Step's own copy, by the event. Every transition asks all its questions before it changes
// anything, so that a refused event leaves r as it was. The event, the record and the effects are separate arguments
// throughout, and not fields of one value, because the compiler would then move all of it to the heap.
func (r *Record) take(in *Stamped, p *Policy, out *Effects) error {
	switch e := in.Event.(type) {
	case Activate:
		return r.activate(in, &e, out)
	case ActivationStarted:
		return r.activationStarted(in, &e, out)
	case ActivationCompleted:
		return r.activationCompleted(in, &e, p, out)
	case ActivationDeferred:
		return r.activationDeferred(in, &e, out)
	case ActivationFailed:
		return r.activationFailed(in, &e, p, out)
	case ProbeTopologyDeclared:
		return r.topologyDeclared(in, &e, out)
	case ProbeObservedFirst:
		return r.probeObservedFirst(in, &e, out)
	case ProbeResult:
		return r.probeResult(in, &e, out)
	case ProbeFailureFirst:
		return r.probeFailureFirst(in, out)
	case SustainedFailureCrossed:
		return r.sustainedFailure(in, &e, out)
	case RollbackCompleted:
		return r.rollbackCompleted(in, &e, out)
	case RollbackFailed:
		return r.rollbackFailed(in, out)
	case ConvergedReached:
		return r.converged(in, &e, out)
	}
	return fmt.Errorf("host: %w: %T", ErrUnknownEvent, in.Event)
}

// must refuses the event unless the record is in the state.
func (r *Record) must(in *Stamped, state State) error {
	if r.State == state {
		return nil
	}
	return illegal(in.Event, r.State)
}

// mustBeSwitching refuses the event unless a switch is on its way, live or for the next boot.
func (r *Record) mustBeSwitching(in *Stamped) error {
	if r.State == Deferred {
		return nil
	}
	return r.must(in, Activating)
}

// emit passes the event on: to the control plane when it happened here, into the log when it is mirrored.
func (r *Record) emit(in *Stamped, out *Effects, durable bool) {
	out.rolloutID, out.host = r.RolloutID, r.Hostname
	out.payload, out.durable = Payload{Seq: in.Seq, Event: in.Event}, durable
	if in.Origin == Local {
		out.add(localEmit)
		return
	}
	out.add(remoteAppend)
}

func (r *Record) move(out *Effects, to State, at time.Time) {
	out.from, out.to, out.at = r.State, to, at
	out.add(transition)
	r.State = to
}
