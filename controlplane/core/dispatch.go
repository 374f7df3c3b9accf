package core

import (
	"errors"
	"fmt"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/strictjson"
	"nixfleet/trust"
	"nixfleet/wire"
)

// poll answers a host that asks for its dispatch. Losing the answer loses nothing: the dispatch stays queued until it
// is acknowledged or withdrawn, and is served again to whoever does not hold it.
func (t *tx) poll(in Poll) (Answer, error) {
	h := t.look(in.Host)
	if h == nil || h.dispatch == nil || h.dispatch.message.RolloutID == in.Have {
		return PollAnswer{}, nil
	}
	d := h.dispatch
	if why, ok := t.core.planner.Deliverable(in.Host, d.message.RolloutID, t.now); !ok {
		t.log(levelInfo, "dispatch not delivered", "host", h.name, "rolloutId", d.message.RolloutID, "gate", why.Gate.String())
		return PollAnswer{}, nil
	}
	if d.written {
		message := d.message
		t.tellWritten(h.name, message.RolloutID)
		return PollAnswer{Dispatch: &message}, nil
	}
	message, ok := t.complete(h, d)
	if !ok {
		return PollAnswer{}, nil
	}
	if err := t.fact(h.name, message.RolloutID, DispatchWritten{Dispatch: message}); err != nil {
		return nil, err
	}
	t.tellWritten(h.name, message.RolloutID)
	return PollAnswer{Dispatch: &message}, nil
}

// tellWritten has the planner know that the host may know of its dispatch from now on.
func (t *tx) tellWritten(hostname, rolloutID string) {
	if m := t.look(hostname).mirror(rolloutID); m != nil && m.record != nil {
		t.core.planner.SetDispatch(hostname, rolloutID, m.record.Channel, rollout.Dispatch{State: rollout.DispatchWritten, At: t.now})
	}
}

// complete adds to a dispatch what only the ticket says. Without a fresh ticket that agrees nothing is delivered.
func (t *tx) complete(h *hostState, d *dispatch) (wire.Dispatch, bool) {
	message := d.message
	v, known := t.ticket(message.RolloutID, h.name)
	if !known {
		t.log(levelWarn, "dispatch without a ticket", "host", h.name, "rolloutId", message.RolloutID)
		return message, false
	}
	ticket := v.Value()
	if ticket.TargetClosure != message.TargetClosure || ticket.Wave != message.Wave {
		t.log(levelError, "manifest and ticket disagree", "host", h.name, "rolloutId", message.RolloutID, "ticket", ticket.TargetClosure, "manifest", message.TargetClosure)
		return message, false
	}
	if err := trust.Fresh(v, ticket.Freshness(), t.now); err != nil {
		t.log(levelWarn, "ticket not fresh", "host", h.name, "rolloutId", message.RolloutID, "reason", err.Error())
		return message, false
	}
	message.TicketHash = t.capture(v)
	message.SoakDueAt = t.now.Add(time.Duration(ticket.SoakSeconds) * time.Second)
	return message, true
}

// queue gives a host its turn.
func (t *tx) queue(a rollout.QueueDispatch) error {
	d := wire.Dispatch{
		Hostname: a.Host, RolloutID: a.Rollout, TargetClosure: a.TargetClosure, SoakDueAt: a.At, EnqueuedAt: a.At, Wave: a.Wave, HasWave: true,
	}
	r := host.Record{
		RolloutID: a.Rollout, Hostname: a.Host, Channel: a.Channel, Wave: a.Wave, TargetClosure: a.TargetClosure, DispatchedAt: a.At, SoakDueAt: a.At,
	}
	h := t.host(a.Host)
	if m := h.mirror(a.Rollout); m != nil {
		r.LastEventSeq = max(m.highest, lastOf(m))
	}
	t.out.Wake = append(t.out.Wake, a.Host)
	return t.fact(a.Host, a.Rollout, DispatchQueued{Record: r, Dispatch: d})
}

// plan lets the planner look at what changed and writes down what it decides.
func (t *tx) plan() error {
	for _, action := range t.core.planner.Plan(t.now) {
		if err := t.act(action); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) act(action rollout.Action) error {
	switch a := action.(type) {
	case rollout.OpenRollout:
		t.log(levelInfo, "rollout opened", "rolloutId", a.Record.ID)
		return t.fact("", a.Record.ID, RolloutStepped{Event: a.Event})
	case rollout.StepRollout:
		t.log(levelInfo, "rollout moved", "rolloutId", a.Rollout, "state", a.Record.State.String())
		return t.fact("", a.Rollout, RolloutStepped{Event: a.Event})
	case rollout.AdvanceWave:
		t.log(levelInfo, "wave released", "rolloutId", a.Rollout, "wave", fmt.Sprint(a.To), "skipped", fmt.Sprint(a.Skipped))
		return t.fact("", a.Rollout, RolloutStepped{Event: rollout.WaveAdvanced{To: a.To, At: t.now}})
	case rollout.QueueDispatch:
		return t.queue(a)
	case rollout.WithdrawDispatch:
		return t.fact(a.Host, a.Rollout, DispatchWithdrawn{Reason: a.Reason.Gate.String() + ": " + a.Reason.Text})
	case rollout.DeferDispatch:
		t.log(levelInfo, "host waits", "host", a.Host, "rolloutId", a.Rollout, "gate", a.Reason.Gate.String(), "reason", a.Reason.Text)
		return nil
	}
	return fmt.Errorf("core: unknown action %T", action)
}

// errRow means that a row's payload is not what its kind says.
var errRow = errors.New("core: the row's payload cannot be read")

// unpark steps the parked events of a rollout that has become known, in the order in which they came.
func (t *tx) unpark(hostname, rolloutID string) error {
	for {
		h := t.host(hostname)
		m := h.mirror(rolloutID)
		if m == nil || len(m.parked) == 0 {
			return nil
		}
		if err := t.stepParked(h, m); err != nil {
			return err
		}
	}
}

// stepParked steps the first parked event and writes down how that went.
func (t *tx) stepParked(h *hostState, m *mirror) error {
	row := m.parked[0]
	e, err := decodeEnvelope(row.Payload)
	if err != nil {
		return err
	}
	refusal, err := t.admit(h, m, e.Event, e.Seq)
	if err != nil {
		return err
	}
	if err := t.fact(h.name, m.rollout, EventStepped{Row: row.Seq, Diverged: refusal}); err != nil {
		return err
	}
	if refusal != "" {
		return t.hold(h.name, row.RolloutID, HoldDiverged, e.Kind+": "+refusal)
	}
	return t.consequences(h.name, row.RolloutID)
}

// applyParked takes the event out of the parked ones and steps it unless it diverged.
func (t *tx) applyParked(row *ledger.Row, f EventStepped) error {
	h := t.host(row.Host)
	m := h.mirror(row.RolloutID)
	if m == nil || len(m.parked) == 0 || m.parked[0].Seq != f.Row {
		return fmt.Errorf("%w: row %d steps row %d, which is not the next parked one", errApply, row.Seq, f.Row)
	}
	parked := m.parked[0]
	m.parked, m.cause = m.parked[1:], row.Seq
	t.touch(row.Host, row.RolloutID)
	t.out.Ledger.Parked = append(t.out.Ledger.Parked, ledger.ParkedView{Key: eventKey(parked), Gone: true})
	if f.Diverged != "" {
		return nil
	}
	e, err := decodeEnvelope(parked.Payload)
	if err != nil {
		return err
	}
	return t.step(row, e.Event, e.Seq)
}

func decodeEnvelope(payload []byte) (wire.Envelope, error) {
	v, err := strictjson.Parse(payload, strictjson.DefaultLimits)
	if err != nil {
		return wire.Envelope{}, fmt.Errorf("%w: %w", errRow, err)
	}
	e, err := wire.DecodeEnvelopeObject(v.Object())
	if err != nil {
		return wire.Envelope{}, fmt.Errorf("%w: %w", errRow, err)
	}
	return e, nil
}

// applySynthesized steps an event that the control plane made up: it leaves no mark in the order of the agent's.
func (t *tx) applySynthesized(row *ledger.Row, e *wire.Envelope) error {
	t.host(row.Host).open(row.RolloutID).cause = row.Seq
	t.touch(row.Host, row.RolloutID)
	return t.step(row, e.Event, e.Seq)
}

func decodeDispatch(body []byte) (wire.Dispatch, error) {
	d, ok, err := wire.DecodeDispatch(body)
	if err == nil && !ok {
		err = fmt.Errorf("%w: a dispatch that is null", errRow)
	}
	return d, err
}
