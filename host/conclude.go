package host

import "time"

func (r *Record) sustainedFailure(in *Stamped, e *SustainedFailureCrossed, out *Effects) error {
	if err := r.must(in, Soaking); err != nil {
		return err
	}
	r.FailedAt = e.FailedAt
	r.PolicyApplied = e.PolicyApplied
	r.emit(in, out, true)
	r.move(out, Failed, e.FailedAt)
	r.rollBackIfOwed(in, out)
	return nil
}

func (r *Record) converged(in *Stamped, e *ConvergedReached, out *Effects) error {
	if err := r.must(in, Soaking); err != nil {
		return err
	}
	if err := CheckConverged(r, e.ConvergedAt, e.CurrentClosure); err != nil {
		return err
	}
	r.ConvergedAt = e.ConvergedAt
	r.CurrentClosure = e.CurrentClosure
	r.emit(in, out, true)
	r.move(out, Converged, e.ConvergedAt)
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
