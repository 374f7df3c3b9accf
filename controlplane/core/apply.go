package core

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// errApply means that a row does not follow from those before it: a log that was not written by this program.
var errApply = errors.New("core: the row does not follow from the log before it")

// applyFact changes the copies as the row says. Deciding and rebuilding both come through here.
func (t *tx) applyFact(row *ledger.Row, f Fact) error {
	switch f := f.(type) {
	case RecordOpened:
		return t.setRecord(row, f.Record)
	case DispatchQueued:
		h := t.host(row.Host)
		h.dispatch = &dispatch{message: f.Dispatch, cause: row.Seq}
		t.viewDispatch(h)
		return t.setRecord(row, f.Record)
	case DispatchWritten:
		return t.applyWritten(row, f)
	case DispatchWithdrawn:
		return t.applyWithdrawn(row)
	case EventStepped:
		return t.applyParked(row, f)
	case HostHeld:
		t.applyHeld(row, f.Kind, f.Reason)
		return nil
	case HostReleased:
		t.applyReleased(row, f.Kind)
		return nil
	case QuarantineInserted:
		t.applyQuarantine(row, &ledger.QuarantineView{
			Channel: f.Channel, Closure: f.Closure, Cause: row.Seq, At: row.At, Host: row.Host, RolloutID: row.RolloutID,
		})
		return nil
	case QuarantineCleared:
		old := t.quarantine(quarantineKey{f.Channel, f.Closure})
		if old == nil {
			return fmt.Errorf("%w: row %d clears a quarantine that is not there", errApply, row.Seq)
		}
		q := *old
		q.ClearedAt, q.ClearedBy, q.ClearedCause = row.At, f.By, row.Seq
		t.applyQuarantine(row, &q)
		return nil
	case RolloutStepped:
		return t.applyRollout(row, f.Event)
	}
	return fmt.Errorf("core: unknown fact %T", f)
}

// setRecord puts a record in place. The policy is the one its hash names.
func (t *tx) setRecord(row *ledger.Row, r host.Record) error {
	m := t.host(row.Host).open(row.RolloutID)
	r.LastEventSeq = max(r.LastEventSeq, lastOf(m))
	m.record, m.policy, m.cause = &r, t.policy(r.PolicyHash), row.Seq
	t.touch(row.Host, row.RolloutID)
	return nil
}

// lastOf is below which no event is stepped any more, whatever record takes this one's place.
func lastOf(m *mirror) uint64 {
	if m.record == nil {
		return 0
	}
	return m.record.LastEventSeq
}

func (t *tx) applyWritten(row *ledger.Row, f DispatchWritten) error {
	h := t.host(row.Host)
	m := h.mirror(row.RolloutID)
	if h.dispatch == nil || h.dispatch.message.RolloutID != row.RolloutID || m == nil || m.record == nil {
		return fmt.Errorf("%w: row %d writes a dispatch that is not queued", errApply, row.Seq)
	}
	h.dispatch = &dispatch{message: f.Dispatch, written: true, cause: row.Seq}
	t.viewDispatch(h)
	r := *m.record
	r.SoakDueAt, r.PolicyHash = f.Dispatch.SoakDueAt, f.Dispatch.TicketHash
	return t.setRecord(row, r)
}

// applyWithdrawn takes the dispatch back. The Pending record stays: the host may have got the dispatch all the same,
// and its DispatchAck is then stepped as usual.
func (t *tx) applyWithdrawn(row *ledger.Row) error {
	h := t.host(row.Host)
	if h.dispatch != nil && h.dispatch.message.RolloutID == row.RolloutID {
		t.dropDispatch(h)
	}
	return nil
}

func (t *tx) dropDispatch(h *hostState) {
	h.dispatch = nil
	t.out.Ledger.Dispatches = append(t.out.Ledger.Dispatches, ledger.DispatchView{Host: h.name, Gone: true})
}

func (t *tx) viewDispatch(h *hostState) {
	d := h.dispatch
	t.out.Ledger.Dispatches = append(t.out.Ledger.Dispatches, ledger.DispatchView{
		Host: h.name, RolloutID: d.message.RolloutID, Cause: d.cause, Written: d.written, Body: d.message.Encode(),
	})
}

func (t *tx) applyHeld(row *ledger.Row, kind, reason string) {
	h := t.host(row.Host)
	if kind == HoldDiverged {
		m := h.open(row.RolloutID)
		m.want, m.cause = reason, row.Seq
		t.touch(h.name, row.RolloutID)
	}
	if h.holding(kind) != nil {
		return
	}
	h.holds = append(h.holds, hold{kind: kind, reason: reason, since: row.At, cause: row.Seq})
	t.out.Ledger.Holds = append(t.out.Ledger.Holds, ledger.HoldView{Host: h.name, Kind: kind, Reason: reason, Since: row.At, Cause: row.Seq})
	t.beats[h.name] = struct{}{}
}

func (t *tx) applyReleased(row *ledger.Row, kind string) {
	h := t.host(row.Host)
	for i := range h.mirrors {
		if m := &h.mirrors[i]; kind == HoldDiverged && m.want != "" {
			m.want, m.cause = "", row.Seq
			t.touch(h.name, m.rollout)
		}
	}
	kept := h.holds[:0:0]
	for _, x := range h.holds {
		if x.kind != kind {
			kept = append(kept, x)
		}
	}
	h.holds = kept
	t.out.Ledger.Holds = append(t.out.Ledger.Holds, ledger.HoldView{Host: h.name, Kind: kind, Gone: true})
	t.beats[h.name] = struct{}{}
}

func (t *tx) applyQuarantine(row *ledger.Row, q *ledger.QuarantineView) {
	t.quarantines[quarantineKey{q.Channel, q.Closure}] = q
	t.out.Ledger.Quarantines = append(t.out.Ledger.Quarantines, *q)
	if t.live {
		t.core.planner.SetQuarantine(q.Channel, q.Closure, q.ClearedAt.IsZero())
	}
}

// applyRollout steps the rollout's machine and marks the hosts an operator cleared.
func (t *tx) applyRollout(row *ledger.Row, e rollout.Event) error {
	if opened, ok := e.(rollout.RolloutOpened); ok {
		opened.ID = row.RolloutID
		e = opened
	}
	var old rollout.Record
	if r := t.rollout(row.RolloutID); r != nil {
		old = *r
	}
	next, effects, err := rollout.Step(old, e, row.At)
	if err != nil {
		return fmt.Errorf("%w: row %d: %w", errApply, row.Seq, err)
	}
	for _, effect := range effects {
		if c, ok := effect.(rollout.MarkCleared); ok {
			for _, name := range c.Hosts {
				m := t.host(name).open(row.RolloutID)
				m.cleared, m.cause = true, row.Seq
				t.touch(name, row.RolloutID)
			}
		}
	}
	if next.State == rollout.Pruned {
		t.forget(row.RolloutID)
	}
	t.rollouts[row.RolloutID], t.causes[row.RolloutID] = &next, row.Seq
	body, err := encodeRollout(&next)
	if err != nil {
		return err
	}
	t.out.Ledger.Rollouts = append(t.out.Ledger.Rollouts, ledger.RolloutView{
		ID: next.ID, Channel: next.Channel, State: next.State.String(), Wave: next.Wave, OpenedAt: next.OpenedAt, Cause: row.Seq, Body: body,
	})
	return nil
}

// forget drops every mirror of a rollout that is pruned. Its rows stay in the log.
func (t *tx) forget(rolloutID string) {
	names := sortedHosts(t.core.hosts)
	for name := range t.hosts {
		if t.core.hosts[name] == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if _, has := t.look(name).find(rolloutID); !has {
			continue
		}
		h := t.host(name)
		i, _ := h.find(rolloutID)
		h.mirrors = slices.Delete(h.mirrors, i, i+1)
		t.touch(name, rolloutID)
	}
}

// applyEvent changes the mirror as an event's row says: its flags tell what became of it, and an event that was
// stepped once is accepted again.
func (t *tx) applyEvent(row *ledger.Row, event host.Event) error {
	h := t.host(row.Host)
	m := h.open(row.RolloutID)
	t.touch(row.Host, row.RolloutID)
	m.highest, m.cause = max(m.highest, row.EventSeq), row.Seq
	switch {
	case row.Flags&ledger.Parked != 0:
		m.parked = append(m.parked[:len(m.parked):len(m.parked)], row)
		t.out.Ledger.Parked = append(t.out.Ledger.Parked, ledger.ParkedView{Key: eventKey(row), Cause: row.Seq})
		return nil
	case row.Flags&(ledger.Late|ledger.Diverged) != 0:
		return nil
	}
	return t.step(row, event, row.EventSeq)
}

func eventKey(row *ledger.Row) ledger.EventKey {
	return ledger.EventKey{Host: row.Host, RolloutID: row.RolloutID, Seq: row.EventSeq}
}

// step runs the host's machine and applies what comes out of it.
func (t *tx) step(row *ledger.Row, event host.Event, seq uint64) error {
	h := t.host(row.Host)
	m := h.open(row.RolloutID)
	next, effects, err := stepMirror(m, host.Stamped{Origin: host.Remote, Seq: seq, Event: event}, t)
	if err != nil {
		return fmt.Errorf("%w: row %d: %w", errApply, row.Seq, err)
	}
	if row.Flags&ledger.Synthesized != 0 {
		next.LastEventSeq = m.record.LastEventSeq
	}
	m.record = &next
	if a, ok := event.(host.Activate); ok {
		t.accepted(row, h, &next, a.ReceivedAt)
	}
	if p, ok := event.(host.ProbeResult); ok && p.Status == host.Fail {
		t.out.Ledger.Failures = append(t.out.Ledger.Failures, ledger.ProbeFailureView{
			Host: row.Host, RolloutID: row.RolloutID, Probe: p.ProbeName, Cause: row.Seq, At: p.ObservedAt, Mode: p.Mode.String(), Reason: p.FailureReason,
		})
	}
	return t.carryOut(effects.All())
}

// carryOut keeps what Step asked for. A log that is applied again asks for nothing: what came of it is in its rows.
func (t *tx) carryOut(effects []host.Effect) error {
	if !t.live {
		return nil
	}
	for _, e := range effects {
		switch e := e.(type) {
		case host.RecordTransition:
			t.out.Transitions = append(t.out.Transitions, e)
		case host.RemoteInsertQuarantine:
			t.due = append(t.due, e)
		case host.RemoteAppendEventLog: // the row is there already: it is what is being applied
		case host.EmitLog:
			t.out.Logs = append(t.out.Logs, e)
		case host.EmitMetric: // made by cores, and this one makes none
		case host.LocalFireSwitch, host.LocalFireRollbackTo, host.LocalResetProbeCache, host.LocalEmitEvent:
			t.log(levelError, "an effect of the agent's side was dropped", "effect", fmt.Sprintf("%T", e))
		}
	}
	return nil
}

// accepted ends the host's dispatch and supersedes what it was doing in other rollouts. What the host accepted later
// than this, or was dispatched later, is not superseded: after a loss of the store, rollouts are replayed as their gaps are noticed, and the
// newest comes first. A host never stamps two acceptances out of their order.
func (t *tx) accepted(row *ledger.Row, h *hostState, taken *host.Record, at time.Time) {
	rolloutID := taken.RolloutID
	if h.dispatch != nil && h.dispatch.message.RolloutID == rolloutID {
		t.dropDispatch(h)
	}
	for i := range h.mirrors {
		m := &h.mirrors[i]
		if m.rollout == rolloutID || m.record == nil || m.record.SupersededBy != "" {
			continue
		}
		old := m.record
		pending := old.State == host.Pending && !old.DispatchedAt.After(taken.DispatchedAt)
		live := old.State.Live() && !old.DispatchAckedAt.After(at)
		if !pending && !live {
			continue
		}
		r := *m.record
		r.SupersededBy = rolloutID
		m.record, m.cause = &r, row.Seq
		t.touch(h.name, m.rollout)
	}
}

// errNoPolicy is the refusal of an event whose policy was never captured.
var errNoPolicy = errors.New("core: no policy was captured for this rollout")

// stepMirror is Step on a mirror, with the policy that was captured.
func stepMirror(m *mirror, in host.Stamped, t *tx) (host.Record, host.Effects, error) {
	if m.record == nil {
		return host.Record{}, host.Effects{}, fmt.Errorf("core: no record of %s: its DispatchAck never came", m.rollout)
	}
	if m.policy == nil {
		return host.Record{}, host.Effects{}, errNoPolicy
	}
	return host.Step(*m.record, in, t.now, *m.policy)
}

// applyReport puts the agent's own record in place of the mirror's. What was decided stays decided: a supersession
// is kept, and nothing is stepped below what is stored.
func (t *tx) applyReport(row *ledger.Row, message *wire.RecordMessage) error {
	h := t.host(row.Host)
	m := h.open(row.RolloutID)
	next, err := reported(m, message)
	if err != nil {
		return fmt.Errorf("%w: row %d: %w", errApply, row.Seq, err)
	}
	m.record, m.policy, m.want, m.cause = &next, t.policy(next.PolicyHash), "", row.Seq
	m.highest = max(m.highest, next.LastEventSeq)
	t.touch(row.Host, row.RolloutID)
	return nil
}

// reported is the record that follows from a report: the agent's, or Pending again if it has none.
func reported(m *mirror, message *wire.RecordMessage) (host.Record, error) {
	if message.Record != nil {
		r := *message.Record
		if m.record != nil && m.record.SupersededBy != "" {
			r.SupersededBy = m.record.SupersededBy
		}
		return r, nil
	}
	if m.record == nil {
		return host.Record{}, errors.New("core: neither side has a record")
	}
	old := m.record
	return host.Record{
		RolloutID: old.RolloutID, Hostname: old.Hostname, Channel: old.Channel, Wave: old.Wave, TargetClosure: old.TargetClosure,
		PolicyHash: old.PolicyHash, DispatchedAt: old.DispatchedAt, SoakDueAt: old.SoakDueAt, LastEventSeq: m.highest,
		SupersededBy: old.SupersededBy,
	}, nil
}
