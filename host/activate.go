package host

import "time"

func (r *Record) activate(in *Stamped, e *Activate, out *Effects) error {
	if err := r.must(in, Pending); err != nil {
		return err
	}
	r.CurrentClosureAtDispatch = e.CurrentClosureAtDispatch
	r.DispatchAckedAt = e.ReceivedAt
	if e.PolicyHash != "" {
		r.PolicyHash = e.PolicyHash
	}
	r.emit(in, out, true)
	r.move(out, Activating, e.ReceivedAt)
	if in.Origin == Local {
		out.closure = r.TargetClosure
		out.add(fireSwitch)
	}
	return nil
}

func (r *Record) activationStarted(in *Stamped, e *ActivationStarted, out *Effects) error {
	if err := r.must(in, Activating); err != nil {
		return err
	}
	r.ActivationStartedAt = e.StartedAt
	r.emit(in, out, true)
	return nil
}

func (r *Record) activationCompleted(in *Stamped, e *ActivationCompleted, p *Policy, out *Effects) error {
	if err := r.mustBeSwitching(in); err != nil {
		return err
	}
	if e.ObservedCurrentClosure != r.TargetClosure {
		return invariant("observed closure %q is not the target %q", e.ObservedCurrentClosure, r.TargetClosure)
	}
	r.ActivationCompletedAt = e.CompletedAt
	r.CurrentClosure = e.ObservedCurrentClosure
	r.Probes, r.Declared = nil, nil
	r.ProbeObservedFirstAt, r.ProbeFailureFirstAt = time.Time{}, time.Time{}
	if due := addClamped(e.CompletedAt, p.Soak(r.Wave)); due.After(r.SoakDueAt) {
		r.SoakDueAt = due
	}
	r.emit(in, out, true)
	r.move(out, Soaking, e.CompletedAt)
	if in.Origin == Local {
		out.add(reset)
	}
	return nil
}

func (r *Record) activationDeferred(in *Stamped, e *ActivationDeferred, out *Effects) error {
	if err := r.must(in, Activating); err != nil {
		return err
	}
	r.DeferredComponent = e.Component
	r.emit(in, out, true)
	r.move(out, Deferred, e.DeferredAt)
	return nil
}

func (r *Record) activationFailed(in *Stamped, e *ActivationFailed, p *Policy, out *Effects) error {
	if err := r.mustBeSwitching(in); err != nil {
		return err
	}
	r.ActivationFailedAt, r.FailedAt = e.FailedAt, e.FailedAt
	r.PolicyApplied = p.OnHealthFailure
	r.emit(in, out, true)
	r.move(out, Failed, e.FailedAt)
	r.rollBackIfOwed(in, out)
	return nil
}
