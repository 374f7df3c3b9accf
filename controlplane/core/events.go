package core

import (
	"fmt"
	"net/http"

	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
	"nixfleet/wire"
)

// events takes the envelopes of one request in order. After the first that is not stored all others are skipped,
// unless it is bad in itself and will be put aside by the agent.
func (t *tx) events(in Events) (Answer, error) {
	results := make([]wire.BatchResult, len(in.Received))
	failed := false
	for i := range in.Received {
		rec := &in.Received[i]
		r := wire.BatchResult{RolloutID: rec.Envelope.RolloutID, Seq: rec.Envelope.Seq, Status: wire.StatusSkipped}
		if !failed {
			var err error
			if r, err = t.event(in.Host, rec); err != nil {
				return nil, err
			}
			failed = r.Status != http.StatusNoContent && !deadLetter(r.Status)
		}
		results[i] = r
	}
	return EventsAnswer{results}, nil
}

// deadLetter says whether an agent puts an event with that answer aside and goes on.
func deadLetter(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
}

// event answers one envelope. docs/design/03-wire-protocol.md.
func (t *tx) event(hostname string, rec *Received) (wire.BatchResult, error) {
	e := &rec.Envelope
	r := wire.BatchResult{RolloutID: e.RolloutID, Seq: e.Seq, Status: http.StatusNoContent}
	refuse := func(status int, reason string) (wire.BatchResult, error) {
		r.Status, r.Error = status, reason
		return r, nil
	}
	switch {
	case rec.Refused != 0:
		return refuse(rec.Refused, rec.Reason)
	case e.Seq == 0:
		return refuse(http.StatusBadRequest, "seq 0: the first event of a rollout has seq 1")
	case e.HasAfter && e.After >= e.Seq:
		return refuse(http.StatusBadRequest, fmt.Sprintf("after %d is not before seq %d", e.After, e.Seq))
	}
	if _, err := fleet.ParseRolloutID(e.RolloutID); err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	h := t.look(hostname)
	var m *mirror
	if h != nil {
		m = h.mirror(e.RolloutID)
	}
	highest := uint64(0)
	if m != nil {
		highest = m.highest
	}
	_, stored := t.storedHash(ledger.EventKey{Host: hostname, RolloutID: e.RolloutID, Seq: e.Seq})
	if stored || e.Seq <= highest {
		return t.again(r, hostname, rec, highest)
	}
	gap := t.missing(hostname, e, highest)
	if gap && !original(h, e) {
		r.Status, r.Error, r.ReplayFrom, r.HasReplayFrom = http.StatusConflict, wire.ErrorGap, highest, true
		return r, nil
	}
	if reason := t.overfull(h, m, e.RolloutID, hostname); reason != "" {
		return refuse(http.StatusTooManyRequests, reason)
	}
	return r, t.store(hostname, rec, gap)
}

// missing says whether an event before this one was neither stored nor said to be gone.
func (t *tx) missing(hostname string, e *wire.Envelope, highest uint64) bool {
	after := afterOf(e)
	if after <= highest {
		return false
	}
	_, stored := t.storedHash(ledger.EventKey{Host: hostname, RolloutID: e.RolloutID, Seq: after})
	return !stored
}

// afterOf is the seq of the event that must be stored before this one.
func afterOf(e *wire.Envelope) uint64 {
	if e.HasAfter {
		return e.After
	}
	return e.Seq - min(e.Seq, 1)
}

// original says whether the host runs an agent that knows nothing of replays.
func original(h *hostState, e *wire.Envelope) bool {
	return e.Epoch == "" && (h == nil || h.beat.version == "")
}

// again answers an event whose seq is not above the highest stored: a duplicate, a fork, or one that comes late.
func (t *tx) again(r wire.BatchResult, hostname string, rec *Received, highest uint64) (wire.BatchResult, error) {
	e := &rec.Envelope
	stored, ok := t.storedHash(ledger.EventKey{Host: hostname, RolloutID: e.RolloutID, Seq: e.Seq})
	switch {
	case ok && stored == rec.EventHash:
		return r, nil
	case ok:
		r.Status, r.Error, r.ReplayFrom, r.HasReplayFrom = http.StatusConflict, wire.ErrorFork, max(highest, e.Seq), true
		return r, nil
	}
	return r, t.write(hostname, rec, ledger.Late)
}

// overfull bounds what rollouts that nobody published may take.
func (t *tx) overfull(h *hostState, m *mirror, rolloutID, hostname string) string {
	if m != nil && m.record != nil {
		return ""
	}
	if _, known := t.ticket(rolloutID, hostname); known {
		return ""
	}
	if m == nil && h != nil && h.unknown() >= maxUnknownRollouts {
		return fmt.Sprintf("%d rollouts are unknown here already", maxUnknownRollouts)
	}
	if m != nil && len(m.parked) >= maxParked {
		return fmt.Sprintf("%d events of this unknown rollout are stored already", maxParked)
	}
	return ""
}

// store writes a new event down and steps it, or says why it was not stepped.
func (t *tx) store(hostname string, rec *Received, gap bool) error {
	e := &rec.Envelope
	h := t.host(hostname)
	m := h.open(e.RolloutID)
	_, known := t.ticket(e.RolloutID, hostname)
	if m.record == nil && !known {
		return t.write(hostname, rec, ledger.Parked)
	}
	if err := t.unpark(hostname, e.RolloutID); err != nil {
		return err
	}
	if gap {
		return t.diverge(hostname, rec, fmt.Sprintf("seq %d came, the last one stored is %d", e.Seq, m.highest))
	}
	if late := synthesizedBefore(h, m, e.Event); late {
		return t.write(hostname, rec, ledger.Late)
	}
	if refusal, err := t.admit(h, m, e.Event, e.Seq); err != nil || refusal != "" {
		if err != nil {
			return err
		}
		return t.diverge(hostname, rec, refusal)
	}
	return t.write(hostname, rec, 0)
}

// admit makes the record ready for the event and says why the mirror cannot step it, "" if it can.
func (t *tx) admit(h *hostState, m *mirror, event host.Event, seq uint64) (refusal string, err error) {
	if ack, ok := event.(host.Activate); ok && (m.record == nil || m.record.State == host.Pending) {
		if refusal, err := t.rebuild(h, m, &ack); refusal != "" || err != nil {
			return refusal, err
		}
		m = h.mirror(m.rollout)
	}
	if _, _, err := stepMirror(m, host.Stamped{Origin: host.Remote, Seq: seq, Event: event}, t); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// rebuild makes the record that a DispatchAck is about from what it carries, held to the ticket, where the mirror has
// none or has it only as Pending.
func (t *tx) rebuild(h *hostState, m *mirror, ack *host.Activate) (refusal string, err error) {
	ticket, known := t.ticket(m.rollout, h.name)
	old := m.record
	complete := old != nil && old.PolicyHash != ""
	if !known && !complete {
		return "no ticket of this host is known", nil
	}
	next := host.Record{RolloutID: m.rollout, Hostname: h.name}
	if complete {
		next = *old
	} else {
		next = t.fromTicket(ticket, ack)
	}
	if refusal := contradicts(ack, &next); refusal != "" {
		return refusal, nil
	}
	if !ack.DispatchedAt.IsZero() {
		next.DispatchedAt = ack.DispatchedAt
	}
	if !ack.SoakDueAt.IsZero() {
		next.SoakDueAt = ack.SoakDueAt
	}
	if old != nil && old.Equal(&next) {
		return "", nil
	}
	return "", t.fact(h.name, m.rollout, RecordOpened{Record: next})
}

// fromTicket is the Pending record of a host that acknowledged a dispatch this control plane knows nothing of.
func (t *tx) fromTicket(v trust.Verified[*fleet.Ticket], ack *host.Activate) host.Record {
	ticket := v.Value()
	p := ticket.HostPolicy()
	return host.Record{
		RolloutID: ticket.RolloutID.String(), Hostname: ticket.Hostname, Channel: ticket.Channel, Wave: ticket.Wave,
		TargetClosure: ticket.TargetClosure, PolicyHash: t.capture(v), DispatchedAt: ack.ReceivedAt,
		SoakDueAt: ack.ReceivedAt.Add(p.Soak(ticket.Wave)),
	}
}

// contradicts holds what an acknowledgement carries to the record; an original's carries nothing.
func contradicts(ack *host.Activate, r *host.Record) string {
	switch {
	case ack.TargetClosure != "" && ack.TargetClosure != r.TargetClosure:
		return fmt.Sprintf("acknowledged target %q, the ticket says %q", ack.TargetClosure, r.TargetClosure)
	case ack.HasWave && ack.Wave != r.Wave:
		return fmt.Sprintf("acknowledged wave %d, the ticket says %d", ack.Wave, r.Wave)
	case ack.PolicyHash != "" && ack.PolicyHash != r.PolicyHash:
		return fmt.Sprintf("acknowledged policy %s, the ticket's is %s", ack.PolicyHash, r.PolicyHash)
	}
	return ""
}

// synthesizedBefore says whether this completion was made up already from a heartbeat.
func synthesizedBefore(h *hostState, m *mirror, event host.Event) bool {
	done, ok := event.(host.ActivationCompleted)
	return ok && h.beat.version == "" && m.record != nil && m.record.State == host.Soaking && done.ObservedCurrentClosure == m.record.TargetClosure
}

// write puts the event into the log and lets it do what its flags say.
func (t *tx) write(hostname string, rec *Received, flags ledger.Flags) error {
	e := &rec.Envelope
	row := ledger.Row{
		Kind: e.Kind, Host: hostname, RolloutID: e.RolloutID, EventSeq: e.Seq, EventHash: rec.EventHash, Flags: flags,
		Payload: rec.Raw, Canonical: rec.Canonical,
	}
	if m := t.host(hostname).mirror(e.RolloutID); m != nil && m.record != nil {
		row.PolicyHash = m.record.PolicyHash
	}
	written, err := t.append(row)
	if err != nil {
		return err
	}
	if err := t.applyEvent(written, e.Event); err != nil {
		return err
	}
	if flags == 0 {
		return t.consequences(hostname, e.RolloutID)
	}
	return nil
}

// diverge stores an event the mirror cannot follow, holds the host and asks for the agent's record.
func (t *tx) diverge(hostname string, rec *Received, reason string) error {
	if err := t.write(hostname, rec, ledger.Diverged); err != nil {
		return err
	}
	return t.hold(hostname, rec.Envelope.RolloutID, HoldDiverged, rec.Envelope.Kind+": "+reason)
}

func (t *tx) hold(hostname, rolloutID, kind, reason string) error {
	t.log(levelWarn, "host held", "host", hostname, "rolloutId", rolloutID, "hold", kind, "reason", reason)
	return t.fact(hostname, rolloutID, HostHeld{Kind: kind, Reason: wire.Text(reason, wire.MaxReason)})
}

// Levels as in log/slog.
const (
	levelInfo  = 0
	levelWarn  = 4
	levelError = 8
)

// consequences carries out what Step asked of the control plane.
func (t *tx) consequences(hostname, rolloutID string) error {
	due := t.due
	t.due = nil
	for range due {
		m := t.host(hostname).mirror(rolloutID)
		if err := t.insertQuarantine(hostname, m.record, m.record.State.String(), true); err != nil {
			return err
		}
	}
	return nil
}

// insertQuarantine refuses the record's target on its channel. Only a fresh failure reinstates a cleared one.
func (t *tx) insertQuarantine(hostname string, r *host.Record, reason string, fresh bool) error {
	q := t.quarantine(quarantineKey{r.Channel, r.TargetClosure})
	if q != nil && (q.ClearedAt.IsZero() || !fresh) {
		return nil
	}
	t.log(levelWarn, "closure quarantined", "channel", r.Channel, "closure", r.TargetClosure, "host", hostname, "reason", reason)
	return t.fact(hostname, r.RolloutID, QuarantineInserted{Channel: r.Channel, Closure: r.TargetClosure, Reason: reason})
}
