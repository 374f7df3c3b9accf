package core

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"nixfleet/clock"
	"nixfleet/host"
)

// Fact is one change of state, as a frame of the journal keeps it. Handling makes facts, opening reads them, and
// both apply them with [state.apply] below. docs/design/04-agent.md, 4.2.
//
//sumtype:decl
type Fact interface{ isFact() }

// Captured is a new rollout with everything its ticket says; Record is Pending or, if it was adopted, what it is
// taken to be. Adopted sequence numbers are the control plane's already.
type Captured struct {
	Record  host.Record
	Policy  host.Policy
	Ticket  []byte
	Sig     []byte
	Floor   Floor
	Adopted bool
}

// Stepped is an event that Step accepted, and the record that came of it.
type Stepped struct {
	RolloutID string
	Seq       uint64
	Event     host.Event
	At        time.Time
	Record    host.Record
}

// Fired counts an attempt to switch, before it is fired.
type Fired struct {
	RolloutID string
	Attempt   uint32
}

// Superseded ends a live rollout because the host accepted another.
type Superseded struct{ RolloutID, By string }

// Pruned forgets a finished rollout.
type Pruned struct{ RolloutID string }

// Accounted is the outbound accounting of one rollout, whole. It rides in the next frame; it never makes one.
type Accounted struct {
	RolloutID         string
	Acked, Done, Base uint64
	Dead              []Refused
	Owed              bool
}

// Forked is a new epoch of the journal.
type Forked struct{ Epoch string }

func (Captured) isFact()   {}
func (Stepped) isFact()    {}
func (Fired) isFact()      {}
func (Superseded) isFact() {}
func (Pruned) isFact()     {}
func (Accounted) isFact()  {}
func (Forked) isFact()     {}

// errFact is the class of a fact that does not fit the state it is applied to.
var errFact = errors.New("core: fact does not fit")

// edit gives the rollout for writing.
func (s *state) edit(id string) (*rollout, error) {
	r, ok := s.rollouts[id]
	if !ok {
		return nil, fmt.Errorf("%w: no rollout %q", errFact, id)
	}
	c := *r
	s.rollouts[id] = &c
	return &c, nil
}

// apply is the only place where a state changes for good.
func (s *state) apply(f Fact, now clock.Reading) error {
	switch f := f.(type) {
	case Captured:
		s.capture(&f)
		return nil
	case Forked:
		s.epoch = f.Epoch
		return nil
	case Pruned:
		delete(s.rollouts, f.RolloutID)
		s.order = slices.DeleteFunc(slices.Clone(s.order), func(id string) bool { return id == f.RolloutID })
		return nil
	case Stepped:
		r, err := s.edit(f.RolloutID)
		if err != nil {
			return err
		}
		s.stepped(r, &f, now)
		return nil
	case Fired:
		r, err := s.edit(f.RolloutID)
		if err != nil {
			return err
		}
		r.fires = f.Attempt
		return nil
	case Superseded:
		r, err := s.edit(f.RolloutID)
		if err != nil {
			return err
		}
		r.rec.SupersededBy = f.By
		return nil
	case Accounted:
		r, err := s.edit(f.RolloutID)
		if err != nil {
			return err
		}
		r.acked, r.done, r.base, r.dead, r.owed, r.dirty = f.Acked, f.Done, f.Base, f.Dead, f.Owed, false
		return nil
	}
	return fmt.Errorf("%w: unknown %T", errFact, f)
}

func (s *state) capture(f *Captured) {
	r := &rollout{rec: f.Record, policy: f.Policy, ticket: f.Ticket, sig: f.Sig}
	if f.Adopted {
		r.acked, r.done = f.Record.LastEventSeq, f.Record.LastEventSeq
		r.deferredBoot = s.last.BootID
		for _, at := range []time.Time{f.Record.DispatchedAt, f.Record.DispatchAckedAt, f.Record.ActivationStartedAt, f.Record.ActivationCompletedAt} {
			if at.After(r.lastAt) {
				r.lastAt = at
			}
		}
	}
	s.adopts = false
	id := f.Record.RolloutID
	s.rollouts[id] = r
	s.order = append(slices.DeleteFunc(slices.Clone(s.order), func(o string) bool { return o == id }), id)
	if !f.Floor.SignedAt.IsZero() {
		s.floor = f.Floor
	}
}

// stepped keeps the books of an event: clocks that start anew, attempts that are settled, when a switch ended.
func (s *state) stepped(r *rollout, f *Stepped, now clock.Reading) {
	if r.rec.ProbeFailureFirstAt.IsZero() && !f.Record.ProbeFailureFirstAt.IsZero() {
		r.streaked = 0
	}
	r.rec = f.Record
	if f.At.After(r.lastAt) {
		r.lastAt = f.At
	}
	switch f.Event.(type) {
	case host.ActivationCompleted:
		r.soaked, r.streaked = 0, 0
		s.switched = now
	case host.ActivationDeferred:
		r.deferredBoot = now.BootID
		s.switched = now
	case host.ActivationFailed:
		r.fires, r.settled, r.waited = 0, 0, 0
		s.switched = now
	case host.SustainedFailureCrossed:
		r.fires, r.settled, r.waited = 0, 0, 0
	case host.RollbackFailed:
		r.settled, r.waited = r.fires, 0
		s.switched = now
	case host.RollbackCompleted:
		s.switched = now
	case host.Activate, host.ActivationStarted, host.ProbeTopologyDeclared, host.ProbeObservedFirst,
		host.ProbeResult, host.ProbeFailureFirst, host.ConvergedReached:
	}
}
