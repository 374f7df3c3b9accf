package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nixfleet/agent/activation"
	"nixfleet/agent/core"
	"nixfleet/host"
)

// runActivation carries out the intent of the View, one at a time.
func (a *Agent) runActivation(ctx context.Context) error {
	for {
		v := a.view.Load()
		if err := a.keepPins(ctx, v.Pins); err != nil {
			a.log.Warn("pins", "error", err)
		}
		if v.Intent == nil {
			if err := a.await(ctx, a.nudge.activation, 0); err != nil {
				return err
			}
			continue
		}
		if err := a.carryOut(ctx, *v.Intent); err != nil {
			return err
		}
	}
}

// keepPins pins what a rollback may need before anything is switched, and lets go of the rest.
func (a *Agent) keepPins(ctx context.Context, want []string) error {
	have, err := a.deps.Backend.Pinned(ctx)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	var errs []error
	for _, closure := range want {
		if !slices.Contains(have, closure) {
			errs = append(errs, a.deps.Backend.Pin(ctx, closure))
		}
	}
	// A journal that may still adopt snapshots does not know yet which pins it needs.
	if !a.view.Load().Adopts {
		for _, closure := range have {
			if !slices.Contains(want, closure) {
				errs = append(errs, a.deps.Backend.Unpin(ctx, closure))
			}
		}
	}
	return errors.Join(errs...)
}

// carryOut fires the intent, or takes up the attempt that was fired already, by this worker or an earlier process.
func (a *Agent) carryOut(ctx context.Context, in core.Intent) error {
	runner := activation.Runner{Backend: a.deps.Backend, Clock: a.deps.Clock}
	job := activation.Intent{
		Closure: in.Closure, Prior: in.Prior, Timeout: in.Timeout,
		Unit: activation.UnitName(in.RolloutID, in.Rollback, in.Attempt),
	}
	if a.taken != nil && *a.taken == in {
		out, decided, err := runner.Resume(ctx, job)
		if err != nil {
			return err
		}
		if !decided {
			return a.ask(ctx, core.Lost{RolloutID: in.RolloutID, Attempt: in.Attempt, Current: a.readCurrent(ctx)})
		}
		return a.reportOutcome(ctx, in, out)
	}
	a.taken = &in
	a.log.Info("switching", "rollout", in.RolloutID, "closure", in.Closure, "rollback", in.Rollback, "attempt", in.Attempt)
	var sendErr error
	out, err := runner.Run(ctx, job, func() {
		if !in.Rollback {
			sendErr = a.send(ctx, core.HostEvent{RolloutID: in.RolloutID, Event: host.ActivationStarted{
				StartedAt: a.deps.Clock.Now().Wall, SwitchMethod: a.deps.Backend.Method(),
			}})
		}
	})
	if err = errors.Join(err, sendErr); err != nil {
		return err
	}
	return a.reportOutcome(ctx, in, out)
}

func (a *Agent) reportOutcome(ctx context.Context, in core.Intent, out activation.Outcome) error {
	event := forwardEvent(out, a.deps.Clock.Now().Wall)
	if in.Rollback {
		event = rollbackEvent(out, a.deps.Clock.Now().Wall)
	}
	if err := a.ask(ctx, core.HostEvent{RolloutID: in.RolloutID, Event: event}); err != nil {
		return fmt.Errorf("agent: the outcome of a switch was refused: %w", err)
	}
	return nil
}
