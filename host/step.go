package host

import (
	"errors"
	"fmt"
	"sort"
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

func illegal(r *Record, in *Stamped) error {
	return &Refusal{ErrIllegal, fmt.Sprintf("%T in state %s", in.Event, r.State)}
}

func invariant(format string, args ...any) error {
	return &Refusal{ErrInvariant, fmt.Sprintf(format, args...)}
}

// Step takes one event on a record and gives the next record and what must be done, in order. On an error the
// record returned is the one given and there are no effects. All times come from the event; now is part of the
// contract of every machine here and is not read. Implements docs/design/02-host-state-machine.md.
func Step(r Record, in Stamped, _ time.Time, p Policy) (Record, Effects, error) {
	s := stepper{rec: r, in: &in, policy: &p}
	if err := s.admit(); err != nil {
		return r, Effects{}, err
	}
	if err := s.dispatch(); err != nil {
		return r, Effects{}, err
	}
	s.rec.LastEventSeq = in.Seq
	return s.rec, s.out, nil
}

// stepper holds one Step in progress: a copy of the record to change and the effects so far.
type stepper struct {
	rec    Record
	in     *Stamped
	policy *Policy
	out    Effects
}

func (s *stepper) admit() error {
	if s.in.Seq <= s.rec.LastEventSeq {
		return &Refusal{ErrSeqRegression, fmt.Sprintf("seq %d, last was %d", s.in.Seq, s.rec.LastEventSeq)}
	}
	if s.rec.SupersededBy != "" {
		return &Refusal{ErrIllegal, "superseded by " + s.rec.SupersededBy}
	}
	return nil
}

func (s *stepper) dispatch() error {
	switch e := s.in.Event.(type) {
	case Activate:
		return s.activate(&e)
	case ActivationStarted:
		return s.activationStarted(&e)
	case ActivationCompleted:
		return s.activationCompleted(&e)
	case ActivationDeferred:
		return s.activationDeferred(&e)
	case ActivationFailed:
		return s.activationFailed(&e)
	case ProbeTopologyDeclared:
		return s.topologyDeclared(&e)
	case ProbeObservedFirst:
		return s.probeObservedFirst(&e)
	case ProbeResult:
		return s.probeResult(&e)
	case ProbeFailureFirst:
		return s.probeFailureFirst()
	case SustainedFailureCrossed:
		return s.sustainedFailure(&e)
	case RollbackCompleted:
		return s.rollbackCompleted(&e)
	case RollbackFailed:
		return s.rollbackFailed()
	case ConvergedReached:
		return s.converged(&e)
	}
	return fmt.Errorf("host: %w: %T", ErrUnknownEvent, s.in.Event)
}

// in reports whether the record is in one of the states, as an illegal refusal if not.
func (s *stepper) must(states ...State) error {
	for _, st := range states {
		if s.rec.State == st {
			return nil
		}
	}
	return illegal(&s.rec, s.in)
}

// emit passes the event on: to the control plane when it happened here, into the log when it is mirrored.
func (s *stepper) emit(durable bool) {
	payload := Payload{Seq: s.in.Seq, Event: s.in.Event}
	if s.in.Origin == Local {
		s.out.add(LocalEmitEvent{RolloutID: s.rec.RolloutID, Payload: payload, Durable: durable})
		return
	}
	s.out.add(RemoteAppendEventLog{Host: s.rec.Hostname, RolloutID: s.rec.RolloutID, Payload: payload})
}

func (s *stepper) move(to State, at time.Time) {
	s.out.add(RecordTransition{Host: s.rec.Hostname, RolloutID: s.rec.RolloutID, From: s.rec.State, To: to, At: at})
	s.rec.State = to
}

func (s *stepper) quarantine() {
	if s.in.Origin == Remote {
		s.out.add(RemoteInsertQuarantine{Channel: s.rec.Channel, Closure: s.rec.TargetClosure})
	}
}

// rollBackIfOwed fires the rollback to what ran at dispatch, and to nothing else.
func (s *stepper) rollBackIfOwed() {
	if s.in.Origin == Local && Owed(&s.rec) {
		s.out.add(LocalFireRollbackTo{RolloutID: s.rec.RolloutID, Closure: s.rec.CurrentClosureAtDispatch})
	}
}

func (s *stepper) activate(e *Activate) error {
	if err := s.must(Pending); err != nil {
		return err
	}
	s.rec.CurrentClosureAtDispatch = e.CurrentClosureAtDispatch
	s.rec.DispatchAckedAt = e.ReceivedAt
	if e.PolicyHash != "" {
		s.rec.PolicyHash = e.PolicyHash
	}
	s.emit(true)
	s.move(Activating, e.ReceivedAt)
	if s.in.Origin == Local {
		s.out.add(LocalFireSwitch{RolloutID: s.rec.RolloutID, Target: s.rec.TargetClosure})
	}
	return nil
}

func (s *stepper) activationStarted(e *ActivationStarted) error {
	if err := s.must(Activating); err != nil {
		return err
	}
	s.rec.ActivationStartedAt = e.StartedAt
	s.emit(true)
	return nil
}

func (s *stepper) activationCompleted(e *ActivationCompleted) error {
	if err := s.must(Activating, Deferred); err != nil {
		return err
	}
	if e.ObservedCurrentClosure != s.rec.TargetClosure {
		return invariant("observed closure %q is not the target %q", e.ObservedCurrentClosure, s.rec.TargetClosure)
	}
	s.rec.ActivationCompletedAt = e.CompletedAt
	s.rec.CurrentClosure = e.ObservedCurrentClosure
	s.rec.Probes, s.rec.Declared = nil, nil
	s.rec.ProbeObservedFirstAt, s.rec.ProbeFailureFirstAt = time.Time{}, time.Time{}
	if due := e.CompletedAt.Add(s.policy.Soak(s.rec.Wave)); due.After(s.rec.SoakDueAt) {
		s.rec.SoakDueAt = due
	}
	s.emit(true)
	s.move(Soaking, e.CompletedAt)
	if s.in.Origin == Local {
		s.out.add(LocalResetProbeCache{RolloutID: s.rec.RolloutID})
	}
	return nil
}

func (s *stepper) activationDeferred(e *ActivationDeferred) error {
	if err := s.must(Activating); err != nil {
		return err
	}
	s.rec.DeferredComponent = e.Component
	s.emit(true)
	s.move(Deferred, e.DeferredAt)
	return nil
}

func (s *stepper) activationFailed(e *ActivationFailed) error {
	if err := s.must(Activating, Deferred); err != nil {
		return err
	}
	s.rec.ActivationFailedAt, s.rec.FailedAt = e.FailedAt, e.FailedAt
	s.rec.PolicyApplied = s.policy.OnHealthFailure
	s.emit(true)
	s.move(Failed, e.FailedAt)
	s.rollBackIfOwed()
	return nil
}

func (s *stepper) topologyDeclared(e *ProbeTopologyDeclared) error {
	if err := s.must(Soaking); err != nil {
		return err
	}
	s.rec.Declared = declare(e.Probes)
	s.rec.Probes = keepDeclared(s.rec.Probes, s.rec.Declared)
	s.endStreak()
	s.emit(true)
	return nil
}

// declare sorts a topology by name; of duplicate names the last wins.
func declare(probes []DeclaredProbe) []Declaration {
	out := make([]Declaration, 0, len(probes))
	for _, p := range probes {
		i := sort.Search(len(out), func(i int) bool { return out[i].Name >= p.ProbeName })
		if i < len(out) && out[i].Name == p.ProbeName {
			out[i].Mode = p.Mode
			continue
		}
		out = append(out, Declaration{})
		copy(out[i+1:], out[i:])
		out[i] = Declaration{Name: p.ProbeName, Mode: p.Mode}
	}
	return out
}

// keepDeclared drops results of probes that are declared no more; the others keep the mode of their own result.
func keepDeclared(probes []*Probe, declared []Declaration) []*Probe {
	var kept []*Probe
	for _, d := range declared {
		if i, ok := findProbe(probes, d.Name); ok {
			kept = append(kept, probes[i])
		}
	}
	return kept
}

// endStreak applies the streak rule: with no enforce probe failing there is no streak.
func (s *stepper) endStreak() {
	for _, p := range s.rec.Probes {
		if p.failing() {
			return
		}
	}
	s.rec.ProbeFailureFirstAt = time.Time{}
}

func (s *stepper) probeObservedFirst(e *ProbeObservedFirst) error {
	if err := s.must(Soaking); err != nil {
		return err
	}
	if s.rec.ProbeObservedFirstAt.IsZero() {
		s.rec.ProbeObservedFirstAt = e.ObservedAt
	}
	s.emit(false)
	return nil
}

func (s *stepper) probeResult(e *ProbeResult) error {
	if err := s.must(Soaking); err != nil {
		return err
	}
	s.rec.Probes = withResult(s.rec.Probes, e)
	if e.Mode == Enforce && e.Status == Fail && s.rec.ProbeFailureFirstAt.IsZero() {
		s.rec.ProbeFailureFirstAt = e.ObservedAt
	}
	if !s.rec.ProbeFailureFirstAt.IsZero() {
		s.endStreak()
	}
	s.emit(false)
	return nil
}

// withResult returns the probes with e's result in its place. Old entries are shared, never written.
func withResult(probes []*Probe, e *ProbeResult) []*Probe {
	i, found := findProbe(probes, e.ProbeName)
	p := &Probe{Name: e.ProbeName, Status: e.Status, Mode: e.Mode, LastObservedAt: e.ObservedAt}
	n := len(probes)
	if found {
		p.Name, p.LastPassAt = probes[i].Name, probes[i].LastPassAt
	} else {
		n++
	}
	if e.Status == Pass {
		p.LastPassAt = e.ObservedAt
	} else {
		p.FailureReason = e.FailureReason
	}
	out := make([]*Probe, n)
	copy(out, probes[:i])
	out[i] = p
	if found {
		copy(out[i+1:], probes[i+1:])
	} else {
		copy(out[i+1:], probes[i:])
	}
	return out
}

// findProbe returns where name is, or belongs, in the sorted probes.
func findProbe(probes []*Probe, name string) (int, bool) {
	for i, p := range probes {
		if p.Name >= name {
			return i, p.Name == name
		}
	}
	return len(probes), false
}

func (s *stepper) probeFailureFirst() error {
	if err := s.must(Soaking); err != nil {
		return err
	}
	s.emit(false)
	return nil
}

func (s *stepper) sustainedFailure(e *SustainedFailureCrossed) error {
	if err := s.must(Soaking); err != nil {
		return err
	}
	s.rec.FailedAt = e.FailedAt
	s.rec.PolicyApplied = e.PolicyApplied
	s.emit(true)
	s.move(Failed, e.FailedAt)
	s.rollBackIfOwed()
	return nil
}

func (s *stepper) rollbackCompleted(e *RollbackCompleted) error {
	if err := s.must(Failed); err != nil {
		return err
	}
	if err := checkRevertedTo(&s.rec, e.RevertedToClosure); err != nil {
		return err
	}
	s.rec.RevertedAt = e.CompletedAt
	s.rec.RevertedTo = e.RevertedToClosure
	s.rec.CurrentClosure = e.RevertedToClosure
	s.emit(true)
	s.move(Reverted, e.CompletedAt)
	s.quarantine()
	return nil
}

// checkRevertedTo holds a rollback to what ran at dispatch; where that is unknown or was the target already, to
// anything but the target.
func checkRevertedTo(r *Record, closure string) error {
	if prior := r.CurrentClosureAtDispatch; prior != "" && prior != r.TargetClosure {
		if closure != prior {
			return invariant("reverted to %q, not to %q which ran at dispatch", closure, prior)
		}
		return nil
	}
	if closure == r.TargetClosure {
		return invariant("reverted to the target %q itself", closure)
	}
	return nil
}

func (s *stepper) rollbackFailed() error {
	if err := s.must(Failed); err != nil {
		return err
	}
	s.rec.RollbackAttempts++
	s.emit(true)
	if s.rec.RollbackAttempts == MaxRollbackAttempts {
		s.quarantine()
	}
	s.rollBackIfOwed()
	return nil
}

func (s *stepper) converged(e *ConvergedReached) error {
	if err := s.must(Soaking); err != nil {
		return err
	}
	if err := CheckConverged(&s.rec, e.ConvergedAt, e.CurrentClosure); err != nil {
		return err
	}
	s.rec.ConvergedAt = e.ConvergedAt
	s.rec.CurrentClosure = e.CurrentClosure
	s.emit(true)
	s.move(Converged, e.ConvergedAt)
	return nil
}

// CheckConverged says whether a soaking record may converge at that time on that closure; the first reason against
// it is an error of class ErrInvariant. Observe and disabled probes never gate.
func CheckConverged(r *Record, at time.Time, current string) error {
	switch {
	case current != r.TargetClosure:
		return invariant("current closure %q is not the target %q", current, r.TargetClosure)
	case r.SoakDueAt.IsZero():
		return invariant("soakDueAt is absent")
	case at.Before(r.SoakDueAt):
		return invariant("convergedAt %s is before soakDueAt %s", at.Format(time.RFC3339Nano), r.SoakDueAt.Format(time.RFC3339Nano))
	case r.Declared == nil:
		return invariant("probe topology was never declared")
	}
	for _, d := range r.Declared {
		if d.Mode == Enforce && r.Probe(d.Name) == nil {
			return invariant("enforce probe %q has no result", d.Name)
		}
	}
	for _, p := range r.Probes {
		if p.failing() {
			return invariant("enforce probe %q is failing", p.Name)
		}
	}
	return nil
}
