package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"nixfleet/agent/client"
	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/wire"
)

// runHeartbeat says at every interval that the host is there and how it is.
func (a *Agent) runHeartbeat(ctx context.Context) error {
	var failed retry
	wait := jittered(a.cfg.Intervals.Heartbeat)
	if !a.greeted.Load() { // the one before the workers was not answered, and until one is the host takes no turn
		wait = min(wait, jittered(backoffMin))
	}
	for {
		if err := clock.Sleep(ctx, a.deps.Clock, wait); err != nil {
			return err
		}
		wait = a.cfg.Intervals.Heartbeat*9/10 + jittered(a.cfg.Intervals.Heartbeat/5)
		err := a.beat(ctx, false)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			a.log.Debug("heartbeat", "error", err)
			wait = min(max(failed.next(err), backoffMin), max(wait, identityRetry))
			continue
		}
		failed.reset()
	}
}

// beat sends one heartbeat and follows the answer. The first one of a process names no rollout.
func (a *Agent) beat(ctx context.Context, first bool) error {
	body := a.heartbeat(ctx, first)
	answer, err := a.call(ctx, client.Request{Method: http.MethodPost, Path: wire.PathBeat, Body: body.Encode(), Timeout: callTimeout})
	if err != nil {
		return err
	}
	said, err := wire.DecodeHeartbeatAnswer(answer.Body)
	if err != nil {
		return fmt.Errorf("agent: heartbeat: %w", err)
	}
	a.metrics.add("heartbeats", 1)
	err = a.follow(ctx, &said, answer.Header.Get(wire.HeaderReplayFrom))
	if !a.greeted.Swap(true) {
		a.nudge.longpoll.ring()
	}
	return err
}

func (a *Agent) heartbeat(ctx context.Context, first bool) *wire.Heartbeat {
	v, now := a.view.Load(), a.deps.Clock.Now()
	h := &wire.Heartbeat{
		Hostname: a.cfg.MachineID, CurrentClosure: a.readCurrent(ctx).Closure, At: now.Wall,
		AgentVersion: Version, Epoch: v.Epoch, BootID: now.BootID, UptimeSecs: uint64(now.Boot / time.Second), Instance: a.instance,
		LastEventSeq: map[string]uint64{}, AckedSeq: map[string]uint64{}, OutboxDepth: v.Depth, DeadLetters: v.Refused,
		Reverted: v.Reverted, Probes: a.probes.latest(v.Probes), Refused: a.refused.get(), Drifted: v.Drifted, Degraded: a.status.degraded(),
	}
	if !first {
		h.RolloutID = v.Newest
	}
	for id, account := range v.Outbound {
		h.LastEventSeq[id], h.AckedSeq[id] = account.Last, account.Acked
	}
	return h
}

// follow does what the answer asks for. Each wish stands alone: one that fails does not keep the others.
func (a *Agent) follow(ctx context.Context, said *wire.HeartbeatAnswer, header string) error {
	var errs []error
	for id, from := range said.ReplayFrom {
		errs = append(errs, a.ask(ctx, core.ReplayFrom{RolloutID: id, From: from}))
	}
	if len(said.ReplayFrom) == 0 && header != "" {
		errs = append(errs, a.replayHeader(ctx, header))
	}
	for _, id := range said.WantRecord {
		errs = append(errs, a.ask(ctx, core.WantRecord{RolloutID: id}))
	}
	if len(said.ReplayFrom)+len(said.WantRecord) > 0 || header != "" {
		a.nudge.outbound.ring()
	}
	if len(said.Bootstrap) > 0 && a.view.Load().Adopts {
		errs = append(errs, a.bootstrap(ctx, said.Bootstrap))
	}
	return errors.Join(errs...)
}

// replayHeader is how a control plane asks that knows of one rollout only.
func (a *Agent) replayHeader(ctx context.Context, header string) error {
	from, err := strconv.ParseUint(header, 10, 64)
	if err != nil {
		return fmt.Errorf("agent: %s: %w", wire.HeaderReplayFrom, err)
	}
	id := a.view.Load().Newest
	if id == "" {
		return nil
	}
	return a.ask(ctx, core.ReplayFrom{RolloutID: id, From: from})
}

// bootstrap offers the core the snapshots for which there is a ticket.
func (a *Agent) bootstrap(ctx context.Context, snapshots []wire.Snapshot) error {
	pinned, err := a.deps.Backend.Pinned(ctx)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	in := core.BootstrapHost{Pinned: pinned, MaxAge: a.cfg.MaxSignatureAge}
	var errs []error
	for _, s := range snapshots {
		ticket, keys, err := a.fetchTicket(ctx, s.RolloutID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		in.Adoptions, in.Keys = append(in.Adoptions, core.Adoption{Snapshot: s, Ticket: ticket}), keys
	}
	in.Current = a.readCurrent(ctx)
	return errors.Join(append(errs, a.ask(ctx, in))...)
}
