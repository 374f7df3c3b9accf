package core

import (
	"fmt"
	"time"

	"nixfleet/host"
)

// CurrentSystem is the name under which a host fails that no longer runs its target.
const CurrentSystem = "current-system"

// maxFires is how often one switch is fired without a word of how it ended.
const maxFires = 3

// retryAfter is how long a rollback waits after its first and its second failure: long enough for a passing trouble
// to pass, short enough that a broken host is not left alone.
var retryAfter = [host.MaxRollbackAttempts]time.Duration{0, time.Minute, 5 * time.Minute}

// Exit codes of what this package concludes by itself; those of the switch are package activation's.
const (
	exitMismatch int32 = -3 // current-system is neither what it was nor what it should be
	exitLost     int32 = -5 // the switch left no result
)

// advance lets time pass for every rollout.
func (t *turn) advance(current Current) error {
	t.st.drifted = ""
	for _, id := range append([]string(nil), t.st.order...) {
		r := t.st.rollouts[id]
		if r.rec.SupersededBy != "" {
			continue
		}
		var err error
		switch r.rec.State {
		case host.Deferred:
			err = t.advanceDeferred(id, r, current)
		case host.Soaking:
			err = t.advanceSoaking(id, r, current)
		case host.Failed:
			err = t.fireRollback(id)
		case host.Converged:
			t.watchDrift(id, r, current)
		case host.Pending, host.Activating, host.Reverted:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// advanceDeferred looks whether the host was rebooted into the target, or into something else.
func (t *turn) advanceDeferred(id string, r *rollout, current Current) error {
	if t.st.stale(current) {
		return nil
	}
	rebooted := r.deferredBoot != t.now.BootID
	switch {
	case current.Closure == r.rec.TargetClosure:
		return t.step(id, host.ActivationCompleted{ObservedCurrentClosure: current.Closure, CompletedAt: t.now.Wall})
	case r.isPrior(current.Closure) && !rebooted:
		return nil
	case r.isPrior(current.Closure):
		return t.failActivation(id, "the boot fell back: current-system is "+current.Closure)
	}
	return t.failActivation(id, "current-system is neither target nor prior: "+current.Closure)
}

// isPrior says whether the closure may be what ran at dispatch; where that is not known anything may.
func (r *rollout) isPrior(closure string) bool {
	return r.rec.CurrentClosureAtDispatch == "" || closure == r.rec.CurrentClosureAtDispatch
}

func (t *turn) failActivation(id, why string) error {
	return t.step(id, host.ActivationFailed{ExitCode: exitMismatch, StderrTail: why, FailedAt: t.now.Wall})
}

// advanceSoaking gives the verdict once there is one.
func (t *turn) advanceSoaking(id string, r *rollout, current Current) error {
	stale := t.st.stale(current)
	if !stale && current.Closure != r.rec.TargetClosure {
		return t.crossed(id, 0, []string{CurrentSystem})
	}
	if failing := r.rec.EnforceFailing(); len(failing) > 0 && r.streaked >= r.policy.Sustained() {
		return t.crossed(id, r.streaked, failing)
	}
	if stale || !r.soakOver(t.now.Wall) {
		return nil
	}
	at := t.now.Wall
	if at.Before(r.rec.SoakDueAt) {
		at = r.rec.SoakDueAt
	}
	// The gate is looked at first: a host that may not converge yet is no error.
	if host.CheckConverged(&r.rec, at, current.Closure) != nil {
		return nil
	}
	return t.step(id, host.ConvergedReached{ConvergedAt: at, CurrentClosure: current.Closure})
}

func (t *turn) crossed(id string, lasted time.Duration, failing []string) error {
	return t.step(id, host.SustainedFailureCrossed{
		FailedAt: t.now.Wall, SustainedDurationSecs: uint64(lasted / time.Second),
		FailingProbes: failing, PolicyApplied: t.st.rollouts[id].policy.OnHealthFailure,
	})
}

// soakOver goes by boot-time: the signed soak always counts in full. A soakDueAt that is later than that, as the
// control plane may ask for, is waited for by the wall clock or by boot-time, whichever comes first.
func (r *rollout) soakOver(wall time.Time) bool {
	return r.soaked >= r.policy.Soak(r.rec.Wave) &&
		(!wall.Before(r.rec.SoakDueAt) || r.soaked >= r.rec.SoakDueAt.Sub(r.rec.ActivationCompletedAt))
}

// soakLeft is at most how long the soak still takes.
func (r *rollout) soakLeft(wall time.Time) time.Duration {
	left := min(r.rec.SoakDueAt.Sub(wall), r.rec.SoakDueAt.Sub(r.rec.ActivationCompletedAt)-r.soaked)
	return max(left, r.policy.Soak(r.rec.Wave)-r.soaked, 0)
}

// watchDrift notes a converged host that runs something else: a matter for people, not for the state machine.
func (t *turn) watchDrift(id string, r *rollout, current Current) {
	if active, _ := t.st.active(); active != id || t.st.stale(current) || current.Closure == r.rec.TargetClosure {
		return
	}
	t.st.drifted = id
}

// fireRollback counts an attempt of the rollback that is owed, unless one is under way or it is too early.
func (t *turn) fireRollback(id string) error {
	r := t.st.rollouts[id]
	if r == nil || r.rec.SupersededBy != "" || !host.Owed(&r.rec) || r.fires > r.settled || r.waited < r.retryDelay() {
		return nil
	}
	return t.record(Fired{RolloutID: id, Attempt: r.fires + 1})
}

func (r *rollout) retryDelay() time.Duration {
	return retryAfter[min(int(r.rec.RollbackAttempts), len(retryAfter)-1)]
}

// lost decides on an attempt that left neither a unit nor a result: something else that runs is a failure; otherwise
// it is fired again, and the third time is a failure. docs/design/04-agent.md, 4.4.
func (t *turn) lost(in *Lost) error {
	r := t.st.rollouts[in.RolloutID]
	if r == nil || !r.switching() || r.fires != in.Attempt || r.fires <= r.settled {
		return fmt.Errorf("%w: attempt %d of %q is not under way", ErrRefused, in.Attempt, in.RolloutID)
	}
	forward := r.rec.State == host.Activating
	closure := in.Current.Closure
	third := closure != "" && closure != r.rec.TargetClosure && !r.isPrior(closure)
	switch {
	case forward && third:
		return t.failActivation(in.RolloutID, "current-system is neither target nor prior: "+closure)
	case r.fires-r.settled < maxFires:
		t.count("switch_refired")
		return t.record(Fired{RolloutID: in.RolloutID, Attempt: r.fires + 1})
	case forward:
		return t.step(in.RolloutID, host.ActivationFailed{ExitCode: exitLost, StderrTail: lostText, FailedAt: t.now.Wall})
	}
	return t.giveUpRollback(in.RolloutID)
}

const lostText = "the switch was fired three times and left no result"

// giveUpRollback ends a rollback for good: as many failures as it takes until none is owed.
func (t *turn) giveUpRollback(id string) error {
	for host.Owed(&t.st.rollouts[id].rec) {
		e := host.RollbackFailed{ExitCode: exitLost, StderrTail: lostText, FailedAt: t.now.Wall, Attempt: t.st.rollouts[id].rec.RollbackAttempts + 1}
		if err := t.step(id, e); err != nil {
			return err
		}
	}
	return nil
}

// nextIn says how soon time alone may change something; ok is false if nothing is awaited. A soak that is over but
// whose gate is closed awaits a probe, not time.
func (s *state) nextIn() (d time.Duration, ok bool) {
	soonest := func(c time.Duration) {
		if !ok || c < d {
			d, ok = max(c, 0), true
		}
	}
	for _, r := range s.rollouts {
		switch {
		case r.rec.SupersededBy != "":
		case r.rec.State == host.Soaking:
			if left := r.soakLeft(s.last.Wall); left > 0 || host.CheckConverged(&r.rec, r.rec.SoakDueAt, r.rec.TargetClosure) == nil {
				soonest(left)
			}
			if !r.rec.ProbeFailureFirstAt.IsZero() {
				soonest(r.policy.Sustained() - r.streaked)
			}
		case host.Owed(&r.rec) && r.fires == r.settled:
			soonest(r.retryDelay() - r.waited)
		}
	}
	return d, ok
}
