package activation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"nixfleet/clock"
)

// Intent is one switch to carry out, in either direction: a rollback is a switch to what ran at dispatch.
type Intent struct {
	Closure string        // what the host shall run
	Prior   string        // what it may be seen running until then, "" for whatever it runs at the start
	Unit    string        // from UnitName; names this very attempt
	Timeout time.Duration // > 0, from the captured policy; waiting for another's switch may take as long again
}

// UnitName returns the name of the unit of one attempt, the same for the same arguments, so that an attempt that
// was counted in the journal before it was fired can be found again after a crash, and so that the result of one
// attempt is never taken for that of another.
func UnitName(rolloutID string, rollback bool, attempt uint32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%t\x00%d", rolloutID, rollback, attempt))
	return "nixfleet-switch-" + hex.EncodeToString(sum[:10])
}

// DefaultPoll is how often a running switch is looked at: often enough that nobody waits for it, seldom enough
// that it costs nothing beside a switch.
const DefaultPoll = 250 * time.Millisecond

// Runner carries out intents on a backend, one at a time.
type Runner struct {
	Backend Backend
	Clock   clock.Clock
	Poll    time.Duration // 0: DefaultPoll
}

// Run carries out the intent from the beginning. fired is called once the detached switch runs. An error means
// that ctx ended first, and is its cause; a switch that was fired then goes on running and is for Resume to find.
func (r *Runner) Run(ctx context.Context, in Intent, fired func()) (Outcome, error) {
	if out, err := r.awaitIdle(ctx, in); out != nil || err != nil {
		return out, err
	}
	began := r.Clock.Now()
	prior, err := r.prior(ctx, in)
	if err != nil {
		return r.failed(ctx, PhaseObserve, err)
	}
	if out, err := r.realise(ctx, in); out != nil || err != nil {
		return out, err
	}
	if err := r.Backend.SetProfile(ctx, in.Closure); err != nil {
		return r.failed(ctx, PhaseProfile, err)
	}
	if err := r.Backend.Switch(ctx, in.Closure, in.Unit); err != nil {
		return r.failed(ctx, PhaseFire, err)
	}
	fired()
	return r.watch(ctx, in, prior, began)
}

// Resume looks for an attempt that an earlier process may have fired: a unit that still runs is watched to its
// end, a result decides, and without either only a host whose current-system and profile both are the target
// counts as completed. Not decided means: fire again. Errors as for Run.
func (r *Runner) Resume(ctx context.Context, in Intent) (out Outcome, decided bool, err error) {
	state, err := r.Backend.Unit(ctx, in.Unit)
	if err != nil {
		out, err = r.failed(ctx, PhaseObserve, err)
		return out, out != nil, err
	}
	if state.Running {
		prior, err := r.prior(ctx, in)
		if err == nil {
			out, err = r.watch(ctx, in, prior, state.Started)
		} else {
			out, err = r.failed(ctx, PhaseObserve, err)
		}
		return out, out != nil, err
	}
	if state.Result != nil && state.Result.Closure == in.Closure {
		out, err = r.conclude(ctx, in, state)
		return out, out != nil, err
	}
	current, err := r.Backend.Current(ctx)
	if err != nil {
		out, err = r.failed(ctx, PhaseObserve, err)
		return out, out != nil, err
	}
	profile, err := r.Backend.Profile(ctx)
	if err != nil {
		out, err = r.failed(ctx, PhaseObserve, err)
		return out, out != nil, err
	}
	if current == in.Closure && profile == in.Closure {
		return Completed{Closure: current, Output: state.Output}, true, nil
	}
	return nil, false, nil
}

// prior is what the host may be seen running until it runs the target; "" is a host that runs nothing yet.
func (r *Runner) prior(ctx context.Context, in Intent) (string, error) {
	if in.Prior != "" {
		return in.Prior, nil
	}
	return r.Backend.Current(ctx)
}

// awaitIdle waits until no switch runs, at most for the intent's timeout.
func (r *Runner) awaitIdle(ctx context.Context, in Intent) (Outcome, error) {
	began := r.Clock.Now()
	for {
		busy, err := r.Backend.Busy(ctx)
		if err != nil {
			return r.failed(ctx, PhaseBusy, err)
		}
		if !busy {
			return nil, nil
		}
		if took := clock.Elapsed(began, r.Clock.Now()); took >= in.Timeout {
			return TimedOut{Phase: PhaseBusy, After: took, Output: "another switch holds the lock"}, nil
		}
		if err := clock.Sleep(ctx, r.Clock, r.poll()); err != nil {
			return nil, err
		}
	}
}

// errRealiseTimeout ends a Realise that takes too long.
var errRealiseTimeout = errors.New("activation: realising took too long")

func (r *Runner) realise(ctx context.Context, in Intent) (Outcome, error) {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := r.Clock.NewTimer(in.Timeout)
	defer timer.Stop()
	done := make(chan error, 1) // 1: the sender never waits
	go func() { done <- r.Backend.Realise(limited, in.Closure) }()
	var err error
	select {
	case err = <-done:
	case <-timer.C:
		cancel(errRealiseTimeout)
		err = <-done
	}
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(context.Cause(limited), errRealiseTimeout):
		return TimedOut{Phase: PhaseRealise, After: in.Timeout, Output: err.Error()}, nil
	case errors.Is(err, ErrSignatureMismatch):
		return SignatureMismatch{Reason: err.Error()}, nil
	}
	return RealiseFailed{Reason: err.Error()}, nil
}

// watch polls until the unit ended, the host runs a third closure, or the time since began is over.
func (r *Runner) watch(ctx context.Context, in Intent, prior string, began clock.Reading) (Outcome, error) {
	var trouble error // the last failure to look; looking again may help, the timeout bounds it
	for {
		state, out, err := r.look(ctx, in, prior)
		if out != nil {
			return out, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		trouble = err
		if took := clock.Elapsed(began, r.Clock.Now()); took >= in.Timeout {
			return r.timeOut(ctx, in, took, state, trouble)
		}
		if err := clock.Sleep(ctx, r.Clock, r.poll()); err != nil {
			return nil, err
		}
	}
}

// look is one poll: an outcome once there is one, an error if it could not look.
func (r *Runner) look(ctx context.Context, in Intent, prior string) (UnitState, Outcome, error) {
	// The unit is read before current-system: what ended before the reading has had its effect on it.
	state, err := r.Backend.Unit(ctx, in.Unit)
	if err != nil {
		return state, nil, err
	}
	current, err := r.Backend.Current(ctx)
	if err != nil {
		return state, nil, err
	}
	// No closure at all is a link between two: what it becomes is seen at the next look.
	if current != in.Closure && current != prior && current != "" {
		if err := r.Backend.Stop(ctx, in.Unit); err != nil {
			return state, nil, err
		}
		return state, VerifyMismatch{Observed: current, Output: state.Output}, nil
	}
	if state.Running {
		return state, nil, nil
	}
	out, err := r.conclude(ctx, in, state)
	return state, out, err
}

// timeOut stops the unit and gives the outcome: TimedOut, unless the switch ended in the last moment.
func (r *Runner) timeOut(ctx context.Context, in Intent, took time.Duration, state UnitState, trouble error) (Outcome, error) {
	stopErr := r.Backend.Stop(ctx, in.Unit)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if last, err := r.Backend.Unit(ctx, in.Unit); err == nil {
		state = last
	}
	if res := state.Result; res != nil && res.Phase == PhaseDone {
		return r.conclude(ctx, in, state)
	}
	output := state.Output
	if err := errors.Join(trouble, stopErr); err != nil {
		output = err.Error() + "\n" + output
	}
	return TimedOut{Phase: PhaseSwitch, After: took, Output: output}, nil
}

// conclude gives the outcome of a unit that runs no more, and corrects the profile behind a success.
func (r *Runner) conclude(ctx context.Context, in Intent, state UnitState) (Outcome, error) {
	res := state.Result
	if res == nil {
		return SwitchFailed{Phase: PhaseLost, Exit: ExitLost, Output: state.Output}, nil
	}
	if res.Phase != PhaseDone {
		return SwitchFailed{Phase: res.Phase, Exit: res.Exit, Output: res.Output}, nil
	}
	if res.Component == "" {
		current, err := r.Backend.Current(ctx)
		if err != nil {
			return r.failed(ctx, PhaseObserve, err)
		}
		if current != in.Closure {
			return VerifyMismatch{Observed: current, Output: res.Output}, nil
		}
	}
	// An activation script may move the profile. What boots next must be what was signed.
	profile, err := r.Backend.Profile(ctx)
	if err == nil && profile != in.Closure {
		err = r.Backend.SetProfile(ctx, in.Closure)
	}
	if err != nil {
		return r.failed(ctx, PhaseProfile, err)
	}
	if res.Component != "" {
		return Deferred{Component: res.Component, Output: res.Output}, nil
	}
	return Completed{Closure: in.Closure, Output: res.Output}, nil
}

// failed turns an error of the backend into an outcome, or into ctx's cause if that is why.
func (r *Runner) failed(ctx context.Context, phase Phase, err error) (Outcome, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return SwitchFailed{Phase: phase, Exit: ExitLost, Output: err.Error()}, nil
}

func (r *Runner) poll() time.Duration {
	if r.Poll > 0 {
		return r.Poll
	}
	return DefaultPoll
}
