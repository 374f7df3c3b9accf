package agent

import (
	"context"
	"time"

	"nixfleet/agent/core"
	"nixfleet/clock"
)

// advanceGap is the least time between two ticks: what is due and yet does not come, because current-system cannot
// be read, must not become a busy loop.
const advanceGap = time.Second

// runAdvance lets time pass in the core: at every tick, and when the core said that time alone decides something.
func (a *Agent) runAdvance(ctx context.Context) error {
	last := a.deps.Clock.Now()
	for {
		now := a.deps.Clock.Now()
		since := clock.Elapsed(last, now)
		wait := a.cfg.Intervals.Advance - since
		if v := a.view.Load(); v.HasNext {
			due := v.NextIn - clock.Elapsed(v.At, now)
			if v.NextIn == 0 { // it was due already when the last tick looked
				due = min(advanceGap, a.cfg.Intervals.Advance) - since
			}
			wait = min(wait, due)
		}
		if wait > 0 {
			if err := a.await(ctx, a.nudge.advance, wait); err != nil {
				return err
			}
			continue
		}
		last = now
		if err := a.ask(ctx, core.AdvanceTick{Current: a.readCurrent(ctx)}); err != nil && ctx.Err() == nil {
			a.log.Warn("advance", "error", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
