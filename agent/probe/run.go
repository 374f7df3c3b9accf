package probe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nixfleet/clock"
	"nixfleet/host"
)

const (
	// RepeatAfter is how often an unchanged result is passed on: the control plane wants to know that a probe
	// still runs, not every time it ran.
	RepeatAfter = time.Minute
	// spread is how long first runs are spread over. Longer would delay the first verdict for nothing.
	spread = 5 * time.Second
)

// Deps are what the tickers need.
type Deps struct {
	Clock clock.Clock
	// Emit takes what one run found, to be handled in this order. It may block; the probe then waits, and Set.Stop
	// waits with it: return when ctx ends.
	Emit func(ctx context.Context, events []host.Event)
	// Jitter gives a number in [0, 1) that spreads the first runs; nil: a random one.
	Jitter func() float64
}

// Set is the running tickers of one rollout.
type Set struct {
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// Start reports the topology, then starts a ticker for every probe that is not disabled. prior holds the results
// that the rollout has already, after a restart: these probes were observed, have a status to change from, and do
// not run again if they run once. It is only read. The tickers end with ctx or Stop, which must be called.
func Start(ctx context.Context, deps Deps, d Declarations, prior []*host.Probe) *Set {
	if deps.Jitter == nil {
		deps.Jitter = rand.Float64
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Set{cancel: cancel}
	deps.Emit(ctx, []host.Event{host.ProbeTopologyDeclared{Probes: d.Topology(), DeclaredAt: deps.Clock.Now().Wall}})
	for _, p := range d.Probes {
		if p.Mode == host.Disabled {
			continue
		}
		t := &ticker{Declared: p, deps: deps}
		for _, known := range prior {
			if known.Name == p.Name {
				t.observed, t.status = true, known.Status
			}
		}
		if t.observed && p.RunOnce {
			continue
		}
		s.all.Go(func() { t.loop(ctx) })
	}
	return s
}

// Stop ends every ticker and waits for all of them, runs in flight included. Nothing is emitted after it returned.
func (s *Set) Stop() {
	s.cancel()
	s.all.Wait()
}

// ticker runs one probe. All fields belong to its goroutine.
type ticker struct {
	Declared
	deps     Deps
	observed bool // a result was passed on, so status holds
	status   host.Status
	subs     []host.SubResult
	sentAt   clock.Reading // when a result was last passed on
}

func (t *ticker) loop(ctx context.Context) {
	delay := time.Duration(t.deps.Jitter() * float64(min(t.Interval, spread)))
	for clock.Sleep(ctx, t.deps.Clock, delay) == nil {
		began := t.deps.Clock.Now()
		t.run(ctx)
		if t.RunOnce {
			return
		}
		// Runs keep to the grid that the first one began; one that took longer than an interval skips a place.
		delay = t.Interval - clock.Elapsed(began, t.deps.Clock.Now())%t.Interval
	}
}

// found is what one run says.
type found struct {
	subs []host.SubResult
	err  error
}

// run is one run. It returns when the run is over, so that there is never a second one, but reports at the timeout
// and at every interval after it, whatever the run does: a hung probe holds no gate open.
func (t *ticker) run(ctx context.Context) {
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan found, 1) // 1: the run never waits for us
	go func() { done <- guarded(runCtx, t.Check) }()
	timer := t.deps.Clock.NewTimer(t.Timeout)
	defer timer.Stop()
	late := t.Timeout
	for {
		select {
		case f := <-done:
			if late == t.Timeout { // otherwise it was given up already
				t.report(ctx, f)
			}
			return
		case <-ctx.Done():
			cancel()
			<-done
			return
		case <-timer.C:
			cancel()
			t.report(ctx, found{err: fmt.Errorf("%s: no answer within %s", t.Kind, late)})
			late += t.Interval
			timer.Reset(t.Interval)
		}
	}
}

// guarded runs the check; a panic is a failure of the probe, not of the agent.
func guarded(ctx context.Context, c Check) (f found) {
	defer func() {
		if p := recover(); p != nil {
			f = found{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	f.subs, f.err = c.Run(ctx)
	return f
}

// report passes on what a run found, in the order of docs/design/06-activation-and-probes.md: the first run, the
// first failure, the result.
func (t *ticker) report(ctx context.Context, f found) {
	if ctx.Err() != nil {
		return // a run that was cut short found nothing
	}
	now, status := t.deps.Clock.Now(), host.Pass
	result := host.ProbeResult{ProbeName: t.Name, Mode: t.Mode, ObservedAt: now.Wall, SubResults: f.subs}
	if f.err != nil {
		status, result.FailureReason = host.Fail, Reason(f.err.Error())
	}
	result.Status = status
	var events []host.Event
	if !t.observed {
		events = append(events, host.ProbeObservedFirst{ProbeName: t.Name, Mode: t.Mode, ObservedAt: now.Wall})
	}
	changed := !t.observed || status != t.status
	if changed && status == host.Fail {
		events = append(events, host.ProbeFailureFirst{ProbeName: t.Name, Mode: t.Mode, FirstFailedAt: now.Wall})
	}
	// A reason that differs is no change: many name a port or a time that differs in every run.
	changed = changed || !slices.Equal(f.subs, t.subs)
	if !changed && clock.Elapsed(t.sentAt, now) < RepeatAfter {
		return
	}
	t.observed, t.status, t.subs, t.sentAt = true, status, f.subs, now
	t.deps.Emit(ctx, append(events, result))
}
