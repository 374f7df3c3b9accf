package core

import (
	"fmt"
	"net/http"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/wire"
)

// report takes an agent's own record of a rollout in place of the mirror's. It can never unblock anything that the
// events would not have: it is held to Check and to the ticket, a failure in it quarantines as the event would, and
// nothing undoes a halt, a quarantine, a clearance or a supersession. docs/design/03-wire-protocol.md.
func (t *tx) report(in *RecordReport) (Answer, error) {
	m := in.Message
	if !in.Signed {
		return StatusAnswer{Status: http.StatusForbidden, Reason: "the record must be signed by the host's key"}, nil
	}
	if reason := t.implausible(&m); reason != "" {
		t.log(levelWarn, "record refused", "host", m.Hostname, "rolloutId", m.RolloutID, "reason", reason)
		return StatusAnswer{Status: http.StatusUnprocessableEntity, Reason: reason}, nil
	}
	row, err := t.append(ledger.Row{
		Kind: kindRecordReported, Host: m.Hostname, RolloutID: m.RolloutID, PolicyHash: t.policyHash(&m), Flags: ledger.Resync,
		Payload: in.Raw, Canonical: in.Canonical,
	})
	if err != nil {
		return nil, err
	}
	before := host.Pending
	if old := t.host(m.Hostname).mirror(m.RolloutID); old != nil && old.record != nil {
		before = old.record.State
	}
	if err := t.applyReport(row, &m); err != nil {
		return nil, err
	}
	if err := t.unpark(m.Hostname, m.RolloutID); err != nil {
		return nil, err
	}
	return done(), t.afterReport(&m, before)
}

// afterReport draws the consequences of a record that was taken.
func (t *tx) afterReport(m *wire.RecordMessage, before host.State) error {
	h := t.host(m.Hostname)
	r := h.mirror(m.RolloutID).record
	if r.State != before && t.live {
		t.out.Transitions = append(t.out.Transitions, host.RecordTransition{Host: h.name, RolloutID: r.RolloutID, From: before, To: r.State, At: t.now})
	}
	if r.State == host.Reverted || r.State == host.Failed && r.RollbackAttempts >= host.MaxRollbackAttempts {
		if err := t.insertQuarantine(h.name, r, "the host's record says "+r.State.String(), false); err != nil {
			return err
		}
	}
	for i := range h.mirrors {
		if h.mirrors[i].want != "" {
			return nil
		}
	}
	if h.holding(HoldDiverged) == nil {
		return nil
	}
	return t.fact(h.name, m.RolloutID, HostReleased{Kind: HoldDiverged, Reason: "the host's own record was taken"})
}

// policyHash names the policy of the record that results: the agent's, or that of the Pending one.
func (t *tx) policyHash(m *wire.RecordMessage) string {
	if m.Record != nil {
		return m.Record.PolicyHash
	}
	if old := t.host(m.Hostname).mirror(m.RolloutID); old != nil && old.record != nil {
		return old.record.PolicyHash
	}
	return ""
}

// implausible says why a record may not be taken, "" if it may.
func (t *tx) implausible(m *wire.RecordMessage) string {
	var old *host.Record
	if h := t.look(m.Hostname); h != nil {
		if mirror := h.mirror(m.RolloutID); mirror != nil {
			old = mirror.record
		}
	}
	r := m.Record
	if r == nil {
		if old == nil {
			return "neither side has a record of this rollout"
		}
		return ""
	}
	if err := host.Check(r); err != nil {
		return err.Error()
	}
	target, wave, hash := "", uint32(0), ""
	switch ticket, known := t.ticket(m.RolloutID, m.Hostname); {
	case old != nil && old.PolicyHash != "":
		target, wave, hash = old.TargetClosure, old.Wave, old.PolicyHash
	case known:
		target, wave, hash = ticket.Value().TargetClosure, ticket.Value().Wave, t.capture(ticket)
	default:
		return "no ticket of this host is known for this rollout"
	}
	if r.TargetClosure != target || r.Wave != wave || r.PolicyHash != hash {
		return fmt.Sprintf("target %s, wave %d and policy %s are not the ticket's: %s, %d and %s", r.TargetClosure, r.Wave, r.PolicyHash, target, wave, hash)
	}
	return t.tooEarly(r)
}

// tooEarly refuses a record that converges before the ticket's soak is over, as no sequence of events could.
func (t *tx) tooEarly(r *host.Record) string {
	p := t.policy(r.PolicyHash)
	if r.State != host.Converged || p == nil {
		return ""
	}
	if due := r.ActivationCompletedAt.Add(p.Soak(r.Wave)); r.ConvergedAt.Before(due) {
		return fmt.Sprintf("converged at %s, the soak of the ticket ends at %s", r.ConvergedAt, due)
	}
	return ""
}
