package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"nixfleet/agent/client"
	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/journal"
	"nixfleet/trust"
	"nixfleet/wire"
)

// pending is one event that is owed, signed and ready.
type pending struct {
	core.Emitted
	envelope []byte
}

// batchBytes bounds a batch below wire.MaxBody, with room for its frame.
const batchBytes = wire.MaxBody - 4<<10

// errEnough ends a scan that has found a batch.
var errEnough = errors.New("agent: enough")

// runOutbound sends what is owed, in commit order. A failure keeps everything and tries again.
func (a *Agent) runOutbound(ctx context.Context) error {
	var failed retry
	q := &outbound{}
	for {
		err := a.flush(ctx, q)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			a.log.Debug("outbound", "error", err)
			if err := clock.Sleep(ctx, a.deps.Clock, failed.next(err)); err != nil {
				return err
			}
			continue
		}
		failed.reset()
		if err := a.await(ctx, a.nudge.outbound, a.cfg.Intervals.Outbound); err != nil {
			return err
		}
	}
}

// outbound is the worker's memory.
type outbound struct {
	singles  int           // how many events to post singly after a batch was refused whole
	recordAt clock.Reading // when a record was last sent
	sentOne  bool
}

// flush sends until nothing is owed.
func (a *Agent) flush(ctx context.Context, q *outbound) error {
	for {
		owed, cursor, err := a.owed(q.most(a.client.Features()))
		if err != nil {
			return err
		}
		if from := a.view.Load().Cursor; cursor != from {
			// Refused only if a replay sent the queue back meanwhile; then the next turn of the loop sees that.
			if err := a.ask(ctx, core.Scanned{From: from, Cursor: cursor}); err != nil && !errors.Is(err, core.ErrRefused) {
				return err
			}
		}
		if len(owed) == 0 {
			return a.sendRecords(ctx, q)
		}
		if err := a.post(ctx, q, owed); err != nil {
			return err
		}
	}
}

// most is how many events to take at once.
func (q *outbound) most(f wire.Features) int {
	if q.singles > 0 || !f.Has(wire.FeatureBatch) {
		return 1
	}
	return wire.MaxBatch
}

// owed reads the journal from the cursor on: the log is the queue, so a backlog of any length is never in memory. It
// gives at most n events, and the place before which nothing is owed. A frame is in the log a moment before the View
// knows its rollouts; what lies behind the tail is left for the next turn, or it would pass for settled.
func (a *Agent) owed(n int) ([]pending, core.Place, error) {
	tail := *a.tail.Load() // before the View, which then knows all of it
	v := a.view.Load()
	var out []pending
	size, cursor, found := 0, v.Cursor, false
	walked := map[string]uint64{} // the last event of each rollout that was, or will have been, sent
	for id, account := range v.Outbound {
		walked[id] = account.Acked
	}
	features, known := a.client.Announced()
	err := a.journal.Scan(journal.Pos(v.Cursor), func(f journal.Frame) error {
		if tail.Less(f.Pos) {
			return errEnough
		}
		if f.Kind != journal.Commit {
			return nil
		}
		events, err := core.EventsOf(f.Payload)
		if err != nil {
			a.log.Error("a commit cannot be sent", "segment", f.Pos.Segment, "offset", f.Pos.Offset, "error", err)
			return nil
		}
		for _, e := range events {
			account, kept := v.Outbound[e.RolloutID]
			if !kept || e.Seq <= account.Done {
				continue
			}
			if e.Kind == kindRollbackFailed && !known {
				return errEnough // nobody has said yet whether it may be sent
			}
			if e.Kind == kindRollbackFailed && !features.Has(wire.FeatureRollbackFailed) {
				continue
			}
			if !found {
				cursor, found = core.Place(f.Pos), true
			}
			p, err := a.envelope(v.Epoch, e, walked[e.RolloutID])
			if err != nil {
				return err
			}
			if len(out) > 0 && size+len(p.envelope) > batchBytes {
				return errEnough
			}
			walked[e.RolloutID] = e.Seq
			size += len(p.envelope) + 1
			if out = append(out, p); len(out) == n {
				return errEnough
			}
		}
		if !found {
			cursor = core.Place{Segment: f.Pos.Segment, Offset: f.Pos.Offset}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("agent: outbound: %w", err)
	}
	return out, cursor, err
}

var kindRollbackFailed = wire.EventKind(host.RollbackFailed{})

// envelope wraps and signs one event. before is the last one of its rollout that is sent: a hole is stated.
func (a *Agent) envelope(epoch string, e core.Emitted, before uint64) (pending, error) {
	env := wire.Envelope{Hostname: a.cfg.MachineID, RolloutID: e.RolloutID, RawEvent: e.Raw, Seq: e.Seq, Kind: e.Kind, Epoch: epoch}
	if before != e.Seq-1 {
		env.After, env.HasAfter = before, true
	}
	sig, err := trust.SignHost(a.key, env.Append(nil))
	if err != nil {
		return pending{}, fmt.Errorf("agent: %w", err)
	}
	env.Signature = sig
	return pending{Emitted: e, envelope: env.Append(nil)}, nil
}

// post sends events and follows the answers.
func (a *Agent) post(ctx context.Context, q *outbound, owed []pending) error {
	if len(owed) == 1 {
		q.singles = max(q.singles-1, 0)
		return a.postOne(ctx, owed[0])
	}
	envelopes := make([][]byte, len(owed))
	for i := range owed {
		envelopes[i] = owed[i].envelope
	}
	answer, err := a.call(ctx, client.Request{Method: http.MethodPost, Path: wire.PathBatch, Body: wire.AppendBatch(nil, envelopes), Timeout: callTimeout})
	var refused *answerError
	if errors.As(err, &refused) && (aboutTheEvent(refused.status) || refused.status == http.StatusNotFound) {
		q.singles = len(owed) // one of them may be bad, or batches are not known: the single answers tell
		return nil
	}
	if err != nil {
		return err
	}
	results, err := wire.DecodeBatchResults(answer.Body)
	if err != nil {
		return fmt.Errorf("agent: batch: %w", err)
	}
	return a.settle(ctx, owed, results)
}

// aboutTheEvent says whether a status blames the event itself.
func aboutTheEvent(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
}

// settle follows the results of a batch, in order.
func (a *Agent) settle(ctx context.Context, owed []pending, results []wire.BatchResult) error {
	acked := map[string]uint64{}
	flush := func() error {
		for id, seq := range acked {
			if err := a.ask(ctx, core.Acked{RolloutID: id, Seq: seq}); err != nil {
				return err
			}
		}
		clear(acked)
		return nil
	}
	dead := map[string]bool{}
	for i, r := range results {
		if i >= len(owed) || r.RolloutID != owed[i].RolloutID || r.Seq != owed[i].Seq {
			return errors.Join(flush(), errors.New("agent: batch: the results are not those of the events"))
		}
		if r.Status == http.StatusNoContent {
			acked[r.RolloutID] = r.Seq
			a.metrics.add("events_acked", 1)
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if r.Status == wire.StatusSkipped {
			return nil
		}
		if r.Status == http.StatusConflict && dead[r.RolloutID] {
			return nil // the gap is the dead letter, which only the next envelopes state; following it would never end
		}
		dead[r.RolloutID] = dead[r.RolloutID] || aboutTheEvent(r.Status)
		e := &answerError{path: wire.PathBatch, status: r.Status, reason: r.Error}
		if err := a.refusedEvent(ctx, owed[i], e, r.ReplayFrom, r.HasReplayFrom); err != nil {
			return err
		}
	}
	if len(results) == 0 {
		return errors.New("agent: batch: no results")
	}
	return flush()
}

func (a *Agent) postOne(ctx context.Context, p pending) error {
	answer, err := a.call(ctx, client.Request{Method: http.MethodPost, Path: wire.PathEvents, Body: p.envelope, Timeout: callTimeout})
	var e *answerError
	if errors.As(err, &e) {
		from, has := replayFrom(answer)
		return a.refusedEvent(ctx, p, e, from, has)
	}
	if err != nil {
		return err
	}
	a.metrics.add("events_acked", 1)
	return a.ask(ctx, core.Acked{RolloutID: p.RolloutID, Seq: p.Seq})
}

// replayFrom reads the number of a 409: from the body, or from the header.
func replayFrom(answer client.Answer) (uint64, bool) {
	if p, err := wire.DecodeProblem(answer.Body); err == nil && p.HasReplayFrom {
		return p.ReplayFrom, true
	}
	var n uint64
	if _, err := fmt.Sscanf(answer.Header.Get(wire.HeaderReplayFrom), "%d", &n); err != nil {
		return 0, false
	}
	return n, true
}

// refusedEvent follows an answer other than 204. docs/design/03-wire-protocol.md.
func (a *Agent) refusedEvent(ctx context.Context, p pending, e *answerError, from uint64, hasFrom bool) error {
	switch {
	case aboutTheEvent(e.status):
		return a.ask(ctx, core.DeadLetter{RolloutID: p.RolloutID, Seq: p.Seq, Status: e.status, Reason: wire.Text(e.reason, wire.MaxReason)})
	case e.status == http.StatusConflict && hasFrom && e.reason == wire.ErrorFork && from >= p.Seq:
		a.metrics.add("forks", 1)
		return a.ask(ctx, core.Fork{RolloutID: p.RolloutID, Stored: from, Epoch: randomID()})
	case e.status == http.StatusConflict && hasFrom && from < a.view.Load().Outbound[p.RolloutID].Done:
		a.metrics.add("replays", 1)
		return a.ask(ctx, core.ReplayFrom{RolloutID: p.RolloutID, From: from})
	}
	return e // an answer that would change nothing must not be followed in a circle: it waits like any other failure
}

// recordGap is the least time between two records: they are large, and each asks a person's attention.
const recordGap = time.Minute

// sendRecords sends one record that was asked for, once everything before it is acknowledged.
func (a *Agent) sendRecords(ctx context.Context, q *outbound) error {
	v, now := a.view.Load(), a.deps.Clock.Now()
	if len(v.Records) == 0 || (q.sentOne && clock.Elapsed(q.recordAt, now) < recordGap) {
		return nil
	}
	m := v.Records[0]
	m.At = now.Wall
	sig, err := trust.SignHost(a.key, m.Encode())
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	m.Signature = sig
	q.recordAt, q.sentOne = now, true
	_, err = a.call(ctx, client.Request{Method: http.MethodPost, Path: wire.PathRecord, Body: m.Encode(), Timeout: callTimeout})
	var e *answerError
	if errors.As(err, &e) && aboutTheEvent(e.status) {
		// It will be asked for again if it is still wanted.
		a.log.Error("the control plane refuses a record", "rollout", m.RolloutID, "error", err)
	} else if err != nil {
		return err
	}
	return a.ask(ctx, core.RecordSent{RolloutID: m.RolloutID})
}
