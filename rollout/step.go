package rollout

import (
	"errors"
	"fmt"
	"time"
)

// The classes of refusal, in the order they are checked.
var (
	ErrIllegal      = errors.New("illegal")       // the event has no place in this state
	ErrInvariant    = errors.New("invariant")     // the event contradicts what is recorded
	ErrUnknownEvent = errors.New("unknown event") // a type Step does not know: a programming error
)

// Refusal is an error of Step: its class, and a sentence with the facts.
type Refusal struct {
	Class  error
	Detail string
}

func (e *Refusal) Error() string { return "rollout: " + e.Class.Error() + ": " + e.Detail }

// Unwrap returns the class.
func (e *Refusal) Unwrap() error { return e.Class }

func invariant(format string, args ...any) error {
	return &Refusal{ErrInvariant, fmt.Sprintf(format, args...)}
}

// Step takes one event on a rollout and gives the next record and what follows, in order: the transition first. On
// an error the record returned is the one given and there are no effects. All times come from the event; now is part
// of the contract of every machine here and is not read. Implements the table of docs/design/07-control-plane.md.
func Step(r Record, e Event, _ time.Time) (Record, []Effect, error) {
	s := stepper{rec: r, event: e}
	if err := s.dispatch(); err != nil {
		return r, nil, err
	}
	return s.rec, s.out, nil
}

// stepper holds one Step in progress: a copy of the record to change and the effects so far.
type stepper struct {
	rec   Record
	event Event
	out   []Effect
}

func (s *stepper) dispatch() error {
	switch e := s.event.(type) {
	case RolloutOpened:
		return s.opened(&e)
	case HostJoined:
		return s.hostJoined(&e)
	case WaveDone:
		return s.waveDone(&e)
	case WaveAdvanced:
		return s.waveAdvanced(&e)
	case AllConverged:
		return s.allConverged(&e)
	case HostReverted:
		return s.halt(Reverted, e.Host, e.At)
	case HostFailed:
		return s.halt(Failed, e.Host, e.At)
	case OperatorClearance:
		return s.clearance(&e)
	case SuccessorOpened:
		return s.successor(&e)
	case RetentionExpired:
		return s.retentionExpired(&e)
	}
	return fmt.Errorf("rollout: %w: %T", ErrUnknownEvent, s.event)
}

// must is an illegal refusal unless the record is in one of the states.
func (s *stepper) must(states ...State) error {
	for _, st := range states {
		if s.rec.State == st {
			return nil
		}
	}
	return &Refusal{ErrIllegal, fmt.Sprintf("%T in state %s", s.event, s.rec.State)}
}

func (s *stepper) move(to State, at time.Time) {
	s.out = append(s.out, RolloutTransition{ID: s.rec.ID, From: s.rec.State, To: to, At: at})
	s.rec.State, s.rec.ChangedAt = to, at
}

func (s *stepper) opened(e *RolloutOpened) error {
	if err := s.must(Unopened); err != nil {
		return err
	}
	if e.ID == "" || e.Channel == "" || e.Waves == 0 {
		return invariant("a rollout needs an id, a channel and a wave, got %q, %q and %d waves", e.ID, e.Channel, e.Waves)
	}
	s.rec = Record{ID: e.ID, Channel: e.Channel, Waves: e.Waves, OpenedAt: e.At}
	s.move(Opening, e.At)
	return nil
}

func (s *stepper) hostJoined(e *HostJoined) error {
	if err := s.must(Opening, Converging); err != nil {
		return err
	}
	s.move(Active, e.At)
	return nil
}

func (s *stepper) waveDone(e *WaveDone) error {
	if err := s.must(Active); err != nil {
		return err
	}
	if e.Wave != s.rec.Wave || e.Wave+1 >= s.rec.Waves {
		return invariant("wave %d done, current is %d of %d", e.Wave, s.rec.Wave, s.rec.Waves)
	}
	s.move(Converging, e.At)
	return nil
}

func (s *stepper) waveAdvanced(e *WaveAdvanced) error {
	if err := s.must(Converging); err != nil {
		return err
	}
	if e.To != s.rec.Wave+1 || e.To >= s.rec.Waves {
		return invariant("advance to wave %d, current is %d of %d", e.To, s.rec.Wave, s.rec.Waves)
	}
	s.rec.Wave = e.To
	s.move(Active, e.At)
	return nil
}

func (s *stepper) allConverged(e *AllConverged) error {
	if err := s.must(Active, Converging); err != nil {
		return err
	}
	s.rec.Wave = s.rec.Waves - 1 // hosts that were skipped and return find no wave closed
	s.move(Terminal, e.At)
	return nil
}

func (s *stepper) halt(to State, host string, at time.Time) error {
	if err := s.must(Opening, Active, Converging); err != nil {
		return err
	}
	s.rec.HaltedBy = host
	s.move(to, at)
	return nil
}

// clearance goes on from a halt. In the other states it marks hosts and waives the wave only: the one way past a
// wave of nobody but silent hosts, and past a host that failed after the end of its rollout.
func (s *stepper) clearance(e *OperatorClearance) error {
	if err := s.must(Opening, Active, Converging, Terminal, Reverted, Failed, Superseded); err != nil {
		return err
	}
	if e.WaiveWave {
		s.rec.WaivedWaves = max(s.rec.WaivedWaves, s.rec.Wave+1)
	}
	if s.rec.State.Halted() || s.rec.State == Opening {
		s.move(Active, e.At)
	}
	if len(e.Hosts) > 0 {
		s.out = append(s.out, MarkCleared{ID: s.rec.ID, Hosts: e.Hosts})
	}
	return nil
}

func (s *stepper) successor(e *SuccessorOpened) error {
	if err := s.must(Opening, Active, Converging, Terminal, Reverted, Failed, Superseded); err != nil {
		return err
	}
	if s.rec.State == Superseded {
		return nil // the first successor is the one that took over
	}
	if e.Successor == "" || e.Successor == s.rec.ID {
		return invariant("%s cannot succeed %s", e.Successor, s.rec.ID)
	}
	s.rec.SupersededBy = e.Successor
	s.move(Superseded, e.At)
	s.out = append(s.out, WithdrawQueued{ID: s.rec.ID})
	return nil
}

func (s *stepper) retentionExpired(e *RetentionExpired) error {
	if err := s.must(Terminal, Superseded, Failed, Reverted); err != nil {
		return err
	}
	s.move(Pruned, e.At)
	s.out = append(s.out, ForgetRollout{ID: s.rec.ID})
	return nil
}
