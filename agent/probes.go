package agent

import (
	"context"
	"maps"
	"sync"
	"time"

	"nixfleet/agent/core"
	"nixfleet/agent/probe"
	"nixfleet/host"
)

// probeBoard holds the latest status of each probe, for the heartbeat: after convergence nothing else tells.
type probeBoard struct {
	mu       sync.Mutex
	statuses map[string]host.Status
	resets   uint64
}

func (b *probeBoard) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statuses = nil
	b.resets++
}

func (b *probeBoard) note(events []host.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		if r, ok := e.(host.ProbeResult); ok {
			if b.statuses == nil {
				b.statuses = map[string]host.Status{}
			}
			b.statuses[r.ProbeName] = r.Status
		}
	}
}

// latest gives the statuses, with those of the record where a probe has not run since the start.
func (b *probeBoard) latest(recorded map[string]host.Status) map[string]host.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := maps.Clone(recorded)
	if out == nil {
		out = map[string]host.Status{}
	}
	maps.Copy(out, b.statuses)
	return out
}

// probed names one set of running probes: another switch of the same rollout starts them afresh.
type probed struct {
	rolloutID string
	switched  time.Time
}

// runProbes keeps the probes of the rollout that the host is in running, and no others.
func (a *Agent) runProbes(ctx context.Context) error {
	var running probed
	var set *probe.Set
	stop := func() {
		if set != nil {
			set.Stop()
		}
		set, running = nil, probed{}
	}
	defer stop()
	for {
		var want probed
		p := a.view.Load().Probing
		if p != nil {
			want = probed{p.RolloutID, p.Switched}
		}
		if want != running {
			stop()
			if p != nil {
				set, running = a.startProbes(ctx, p), want
			}
		}
		if err := a.await(ctx, a.nudge.probes, 0); err != nil {
			return err
		}
	}
}

func (a *Agent) startProbes(ctx context.Context, p *core.Probing) *probe.Set {
	declared := probe.Load(a.cfg.HealthChecksFile, a.cfg.Intervals.ProbeMin)
	for _, defect := range declared.Defects() {
		a.log.Error("health checks", "defect", defect)
	}
	id := p.RolloutID
	return probe.Start(ctx, probe.Deps{Clock: a.deps.Clock, Emit: func(ctx context.Context, events []host.Event) {
		a.probes.note(events)
		now := a.view.Load().Probing
		if now == nil || now.RolloutID != id || !now.Soaking {
			return // converged: for the heartbeat only
		}
		for _, e := range events {
			if a.send(ctx, core.HostEvent{RolloutID: id, Event: e}) != nil {
				return // the end of the worker, or of the agent
			}
		}
	}}, declared, p.Known)
}
