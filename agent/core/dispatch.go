package core

import (
	"errors"
	"fmt"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
	"nixfleet/wire"
)

const millisecond = time.Millisecond

// Why a dispatch is not accepted, each of class ErrRefused. Beside these come trust's ErrStale, ErrFutureDated and
// ErrDowngrade.
var (
	ErrWrongHost    = fmt.Errorf("%w: the dispatch or its ticket is for another host", ErrRefused)
	ErrWrongTicket  = fmt.Errorf("%w: the dispatch says what its ticket does not", ErrRefused)
	ErrKnown        = fmt.Errorf("%w: the host has or had this rollout", ErrRefused)
	ErrSwitching    = fmt.Errorf("%w: a switch is running or owed", ErrRefused)
	ErrStaleReading = fmt.Errorf("%w: current-system was read before the last switch ended", ErrRefused)
)

// MaxSeq is the highest number an event may have: RFC 8785, under which events are signed, carries no more.
const MaxSeq = 1<<53 - 1

// dispatch accepts the host's turn: it captures the ticket, ends what was going on, and fires the switch.
func (t *turn) dispatch(in *Dispatch) error {
	ticket := in.Ticket.Value()
	if err := t.checkDispatch(in, ticket); err != nil {
		return err
	}
	id := ticket.RolloutID.String()
	rec := host.Record{
		RolloutID: id, Hostname: t.hostname, Channel: ticket.Channel, Wave: ticket.Wave, State: host.Pending,
		TargetClosure: ticket.TargetClosure, PolicyHash: trust.PolicyHash(ticket),
		DispatchedAt: in.Message.EnqueuedAt, SoakDueAt: in.Message.SoakDueAt,
	}
	if err := t.supersedeAll(id); err != nil {
		return err
	}
	captured := Captured{
		Record: rec, Policy: ticket.HostPolicy(), Ticket: in.Ticket.Raw(), Sig: in.Ticket.Signature(),
		Floor: Floor{SignedAt: ticket.SignedAt, Keys: in.Keys},
	}
	if err := t.record(captured); err != nil {
		return err
	}
	return errors.Join(t.step(id, host.Activate{
		CurrentClosureAtDispatch: in.Current.Closure, ReceivedAt: t.acceptedAt(), PolicyHash: rec.PolicyHash,
		Wave: rec.Wave, HasWave: true, DispatchedAt: rec.DispatchedAt, TargetClosure: rec.TargetClosure, SoakDueAt: rec.SoakDueAt,
	}), t.prune())
}

// acceptedAt is now, but behind every acceptance before it: whatever the wall clock did, the control plane can tell
// from the times which of two rollouts the host took up last, in whichever order it hears of them.
func (t *turn) acceptedAt() time.Time {
	at := t.now.Wall
	for _, r := range t.st.rollouts {
		if last := r.rec.DispatchAckedAt; !at.After(last) {
			at = last.Add(millisecond)
		}
	}
	return at
}

func (t *turn) checkDispatch(in *Dispatch, ticket *fleet.Ticket) error {
	if ticket == nil {
		return fmt.Errorf("%w: no ticket", ErrWrongTicket)
	}
	id := ticket.RolloutID.String()
	m := &in.Message
	switch {
	case m.Hostname != t.hostname || ticket.Hostname != t.hostname:
		return fmt.Errorf("%w: dispatch %q, ticket %q, this is %q", ErrWrongHost, m.Hostname, ticket.Hostname, t.hostname)
	case m.RolloutID != id:
		return fmt.Errorf("%w: rollout %q, ticket %q", ErrWrongTicket, m.RolloutID, id)
	case m.TargetClosure != ticket.TargetClosure:
		return fmt.Errorf("%w: target %q, ticket %q", ErrWrongTicket, m.TargetClosure, ticket.TargetClosure)
	case m.HasWave && m.Wave != ticket.Wave:
		return fmt.Errorf("%w: wave %d, ticket %d", ErrWrongTicket, m.Wave, ticket.Wave)
	case m.TicketHash != "" && m.TicketHash != trust.PolicyHash(ticket):
		return fmt.Errorf("%w: ticket hash %q, ticket %q", ErrWrongTicket, m.TicketHash, trust.PolicyHash(ticket))
	case t.st.rollouts[id] != nil:
		return fmt.Errorf("%w: %s", ErrKnown, id)
	}
	return t.checkTurn(ticket, in.Current, in.Keys, in.MaxAge)
}

// checkTurn holds a ticket to the moment: nothing else is switching, it is fresh and no step back.
func (t *turn) checkTurn(ticket *fleet.Ticket, current Current, keys string, maxAge time.Duration) error {
	for _, id := range t.st.order {
		if t.st.rollouts[id].switching() {
			return fmt.Errorf("%w: %s", ErrSwitching, id)
		}
	}
	window := ticket.Freshness()
	if maxAge > 0 {
		window = min(window, maxAge)
	}
	if err := trust.CheckFresh(ticket.SignedAt, window, t.now.Wall); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	if f := t.st.floor; f.Keys == keys && ticket.SignedAt.Before(f.SignedAt) {
		return fmt.Errorf("core: %w: signed at %s, accepted before: %s", trust.ErrDowngrade, ticket.SignedAt.Format(time.RFC3339), f.SignedAt.Format(time.RFC3339))
	}
	// A host without a current-system yet has an unreadable one; only an old reading must be taken again.
	if current.Closure != "" && t.st.stale(current) {
		return ErrStaleReading
	}
	return nil
}

// supersedeAll ends every live rollout of the host, whatever its channel.
func (t *turn) supersedeAll(by string) error {
	for _, id := range t.st.order {
		if id == by || !t.st.rollouts[id].live() {
			continue
		}
		if err := t.record(Superseded{RolloutID: id, By: by}); err != nil {
			return err
		}
	}
	return nil
}

// prune forgets finished rollouts beyond those that are kept, once nothing of them is owed to the control plane.
func (t *turn) prune() error {
	kept := 0
	for i := len(t.st.order) - 2; i >= 0; i-- {
		id := t.st.order[i]
		r := t.st.rollouts[id]
		if r.live() {
			continue
		}
		if kept++; kept > KeptFinished && r.done >= r.rec.LastEventSeq && !r.owed {
			if err := t.record(Pruned{RolloutID: id}); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostEvent takes what a worker saw.
func (t *turn) hostEvent(in *HostEvent) error {
	if err := checkText(in.Event); err != nil {
		return err
	}
	if a, ok := in.Event.(host.Activate); ok {
		return fmt.Errorf("%w: %T comes of a dispatch only", ErrRefused, a)
	}
	if r := t.st.rollouts[in.RolloutID]; r != nil {
		if e, ok := in.Event.(host.RollbackFailed); ok {
			e.Attempt = r.rec.RollbackAttempts + 1
			in.Event = e
		}
	}
	return t.step(in.RolloutID, in.Event)
}

// checkText refuses an event the protocol could not carry: what cannot be read back must not be written.
func checkText(e host.Event) error {
	if e == nil {
		return fmt.Errorf("%w: no event", ErrRefused)
	}
	if _, _, err := wire.DecodeEvent(wire.AppendEvent(nil, 1, e)); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}
