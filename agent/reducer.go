package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/journal"
)

// request is an input on its way to the reducer. reply, where there is one, has room for the answer, so the reducer
// never waits for who asked.
type request struct {
	in    core.Input
	reply chan error
}

// send hands an input to the reducer and does not wait for its commit.
func (a *Agent) send(ctx context.Context, in core.Input) error {
	select {
	case a.inputs <- request{in: in}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ask hands an input to the reducer and waits until its commit is durable and the View shows it. It returns what the
// core made of the input.
func (a *Agent) ask(ctx context.Context, in core.Input) error {
	r := request{in: in, reply: make(chan error, 1)}
	select {
	case a.inputs <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// reduce is the only mutator: one batch, one commit, then its effects.
func (a *Agent) reduce(ctx context.Context) {
	for {
		batch := a.collect(ctx)
		if batch == nil {
			return
		}
		inputs := make([]core.Input, len(batch))
		for i, r := range batch {
			inputs[i] = r.in
		}
		commit := a.core.Handle(inputs, a.deps.Clock.Now())
		at, durable := a.persist(ctx, commit)
		if !durable {
			return
		}
		a.core.Applied(commit)
		a.publish(commit, at)
		for i, r := range batch {
			if r.reply != nil {
				r.reply <- commit.Results[i]
			} else if err := commit.Results[i]; err != nil {
				a.metrics.add("inputs_refused", 1)
				a.log.Debug("refused", "error", err)
			}
		}
		if commit.Frame != nil && a.journal.NeedsRotation() {
			a.rotate()
		}
	}
}

// collect waits for one input, then takes what else is there. nil: ctx ended.
func (a *Agent) collect(ctx context.Context) []request {
	var batch []request
	select {
	case r := <-a.inputs:
		batch = append(batch, r)
	case <-ctx.Done():
		return nil
	}
	for len(batch) < core.MaxBatch {
		select {
		case r := <-a.inputs:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// persist makes the frame durable, trying the same bytes again until that succeeds. false: ctx ended before it did,
// and nothing of the commit holds. at is where the frame is, nil if there is none.
func (a *Agent) persist(ctx context.Context, commit *core.Commit) (at *journal.Pos, ok bool) {
	if commit.Frame == nil {
		return nil, true
	}
	for delay := commitRetryMin; ; delay = min(delay*2, commitRetryMax) {
		pos, err := a.journal.Append(commit.Frame)
		if err == nil {
			a.status.clear("journal")
			return &pos, true
		}
		a.metrics.add("commit_failures", 1)
		a.status.set("journal", "a commit failed: "+err.Error())
		if clock.Sleep(ctx, a.deps.Clock, jittered(delay)) != nil {
			return nil, false
		}
	}
}

// A full disk may be emptied at any moment, and until then nothing else can be done here.
const (
	commitRetryMin = 100 * time.Millisecond
	commitRetryMax = 10 * time.Second
)

// jittered gives between half and all of d.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// rotate starts a new segment with a snapshot. That it cannot is no loss: commits go on in the old one.
func (a *Agent) rotate() {
	if err := a.journal.Rotate(a.core.Snapshot()); err != nil {
		a.metrics.add("rotate_failures", 1)
		a.log.Warn("the journal could not be rotated", "error", err)
		return
	}
	a.nudge.retention.ring()
}

// publish shows the new View and carries out the effects, in order.
func (a *Agent) publish(commit *core.Commit, at *journal.Pos) {
	a.view.Store(a.core.View())
	if at != nil { // behind the view: who reads both, the tail first, knows everything up to it
		a.tail.Store(at)
	}
	for _, e := range commit.Effects {
		a.apply(e)
	}
	if commit.Emitted > 0 {
		a.metrics.add("events", float64(commit.Emitted))
		a.nudge.outbound.ring()
	}
	// Workers look at the View and go back to sleep if it holds nothing for them.
	a.nudge.activation.ring()
	a.nudge.probes.ring()
	a.nudge.longpoll.ring()
	a.nudge.advance.ring()
}

// apply carries out one effect. Switches are none of them: the intent in the View is.
func (a *Agent) apply(e host.Effect) {
	switch e := e.(type) {
	case host.RecordTransition:
		a.log.Info("transition", "rollout", e.RolloutID, "from", e.From.String(), "to", e.To.String())
		a.metrics.add("transitions", 1)
		if a.deps.OnTransition != nil {
			a.deps.OnTransition(e)
		}
	case host.EmitMetric:
		a.metrics.add(e.Name, e.Value)
	case host.EmitLog:
		attrs := make([]any, len(e.Attrs))
		for i, s := range e.Attrs {
			attrs[i] = s
		}
		a.log.Log(context.Background(), slog.Level(e.Level), e.Message, attrs...)
	case host.LocalResetProbeCache:
		a.probes.reset()
	case host.LocalFireSwitch, host.LocalFireRollbackTo, host.LocalEmitEvent, host.RemoteAppendEventLog, host.RemoteInsertQuarantine:
		a.log.Error("dropped an effect that is not this applier's", "effect", e)
	}
}

// nudge wakes one worker. A bell that rang already need not ring twice: capacity 1.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

type nudges struct{ activation, probes, outbound, longpoll, advance, retention bell }

func newNudges() nudges {
	b := func() bell { return make(bell, 1) }
	return nudges{b(), b(), b(), b(), b(), b()}
}

// await waits for the bell, or for d on the clock, or for the end of ctx, whose cause it returns. d <= 0: no limit.
func (a *Agent) await(ctx context.Context, b bell, d time.Duration) error {
	var after <-chan time.Time
	if d > 0 {
		t := a.deps.Clock.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-b:
		return nil
	case <-after:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
