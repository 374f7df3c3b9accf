package host

import "fmt"

// Check says whether a record that comes from outside can be one that Step made: its form, and for its state what is
// true of every record in that state. It believes no more than that; whether it is of this rollout and this ticket is
// for the caller to compare. The error is of class ErrInvariant and names the field.
// Implements docs/design/02-host-state-machine.md, sections 2.1 and 2.5.
func Check(r *Record) error {
	for _, check := range [...]func(*Record) error{checkForm, checkProbes, checkProgress, checkState} {
		if err := check(r); err != nil {
			return fmt.Errorf("host: record: %w", err)
		}
	}
	return nil
}

func checkForm(r *Record) error {
	switch {
	case r.RolloutID == "":
		return invariant("rolloutId is empty")
	case r.Hostname == "":
		return invariant("hostname is empty")
	case r.Channel == "":
		return invariant("channel is empty")
	case r.TargetClosure == "":
		return invariant("targetClosure is empty")
	case r.DispatchedAt.IsZero():
		return invariant("dispatchedAt is absent")
	case int(r.State) >= len(States):
		return invariant("state %d is none", r.State)
	case int(r.PolicyApplied) >= len(OnFailureNames):
		return invariant("policyApplied %d is none", r.PolicyApplied)
	case r.SupersededBy == r.RolloutID:
		return invariant("supersededBy is the rollout itself")
	}
	return nil
}

// checkProbes holds the declarations and results to their form, and the streak to the results.
func checkProbes(r *Record) error {
	if len(r.Declared) > MaxProbes || len(r.Probes) > MaxProbes {
		return invariant("%d probes declared and %d recorded, at most %d allowed", len(r.Declared), len(r.Probes), MaxProbes)
	}
	for i, d := range r.Declared {
		if d.Name == "" || int(d.Mode) >= len(ModeNames) || i > 0 && r.Declared[i-1].Name >= d.Name {
			return invariant("declaredProbes: %q has no name or no mode, or is out of order", d.Name)
		}
	}
	failing := false
	for i, p := range r.Probes {
		if p == nil {
			return invariant("probes: entry %d is nil", i)
		}
		if i > 0 && r.Probes[i-1].Name >= p.Name {
			return invariant("probes: %q is out of order", p.Name)
		}
		if err := checkProbe(p); err != nil {
			return err
		}
		failing = failing || p.failing()
	}
	if failing == r.ProbeFailureFirstAt.IsZero() {
		return invariant("probeFailureFirstAt does not agree with the probes: an enforce probe failing is %t", failing)
	}
	return nil
}

func checkProbe(p *Probe) error {
	switch {
	case p.Name == "" || int(p.Mode) >= len(ModeNames) || int(p.Status) >= len(StatusNames):
		return invariant("probes: %q has no name, no mode or no status", p.Name)
	case p.LastObservedAt.IsZero():
		return invariant("probes: %q has no lastObservedAt", p.Name)
	case p.Status == Pass && !p.LastPassAt.Equal(p.LastObservedAt):
		return invariant("probes: %q passes, but lastPassAt is not lastObservedAt", p.Name)
	case p.Status == Pass && p.FailureReason != "":
		return invariant("probes: %q passes, but has a failureReason", p.Name)
	}
	return nil
}

// checkProgress holds what a record knows to how far it came.
func checkProgress(r *Record) error {
	var (
		acked     = r.State != Pending
		completed = !r.ActivationCompletedAt.IsZero()
		failed    = r.State == Failed || r.State == Reverted
	)
	switch {
	case acked != !r.DispatchAckedAt.IsZero():
		return invariant("dispatchAckedAt does not agree with state %s", r.State)
	case acked && r.LastEventSeq == 0:
		return invariant("lastEventSeq is 0 in state %s", r.State)
	case !acked && !r.ActivationStartedAt.IsZero():
		return invariant("activationStartedAt is there in state %s", r.State)
	case r.DeferredComponent != "" && (r.State == Pending || r.State == Activating):
		return invariant("deferredComponent is there in state %s", r.State)
	case completed && (r.State == Pending || r.State == Activating || r.State == Deferred):
		return invariant("activationCompletedAt is there in state %s", r.State)
	case !completed && (r.Declared != nil || len(r.Probes) > 0 || !r.ProbeObservedFirstAt.IsZero()):
		return invariant("probes without an activationCompletedAt")
	case completed && (r.SoakDueAt.IsZero() || r.SoakDueAt.Before(r.ActivationCompletedAt)):
		return invariant("soakDueAt is absent or before activationCompletedAt")
	case failed != !r.FailedAt.IsZero() || failed != (r.PolicyApplied != NoPolicy):
		return invariant("failedAt or policyApplied does not agree with state %s", r.State)
	case !failed && (!r.ActivationFailedAt.IsZero() || r.RollbackAttempts > 0):
		return invariant("activationFailedAt or rollbackAttempts in state %s", r.State)
	case failed && completed != r.ActivationFailedAt.IsZero():
		return invariant("failed either to activate or after activating: activationCompletedAt and activationFailedAt disagree")
	case (r.State == Converged) != !r.ConvergedAt.IsZero():
		return invariant("convergedAt does not agree with state %s", r.State)
	case (r.State == Reverted) != !r.RevertedAt.IsZero() || r.State != Reverted && r.RevertedTo != "":
		return invariant("revertedAt or revertedTo does not agree with state %s", r.State)
	}
	return nil
}

// checkState asks for what Step asked when it let the record into its state.
func checkState(r *Record) error {
	switch r.State {
	case Pending, Activating, Deferred, Failed:
		return nil
	case Soaking:
		if r.ActivationCompletedAt.IsZero() || r.CurrentClosure != r.TargetClosure {
			return invariant("soaking, but currentClosure is not the target or activationCompletedAt is absent")
		}
		return nil
	case Converged:
		if r.ActivationCompletedAt.IsZero() {
			return invariant("converged, but activationCompletedAt is absent")
		}
		return CheckConverged(r, r.ConvergedAt, r.CurrentClosure)
	case Reverted:
		if r.CurrentClosure != r.RevertedTo {
			return invariant("reverted to %q, but currentClosure is %q", r.RevertedTo, r.CurrentClosure)
		}
		return checkRevertedTo(r, r.RevertedTo)
	}
	return invariant("state %d is none", r.State)
}
