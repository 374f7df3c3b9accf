package core

import (
	"errors"
	"fmt"
	"slices"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
)

// Why a snapshot is not adopted, of class ErrRefused.
var (
	ErrNotAdopting   = fmt.Errorf("%w: this journal is not empty: a snapshot changes nothing it has", ErrRefused)
	ErrWrongSnapshot = fmt.Errorf("%w: the snapshot says what its ticket, or the host, does not", ErrRefused)
)

// bootstrap adopts what the control plane knew, where the journal was empty or damaged, as far as signed tickets and
// the host itself agree. docs/design/04-agent.md, 4.4.
func (t *turn) bootstrap(in *BootstrapHost) error {
	if !t.st.adopts {
		return ErrNotAdopting
	}
	var refusals []error
	// In the order the host took them, so that the last one is the one it is in.
	adoptions := slices.SortedStableFunc(slices.Values(in.Adoptions), func(a, b Adoption) int {
		return a.Snapshot.DispatchedAt.Compare(b.Snapshot.DispatchedAt)
	})
	for i := range adoptions {
		if err := t.adopt(in, &adoptions[i]); err != nil {
			refusals = append(refusals, fmt.Errorf("%s: %w", adoptions[i].Snapshot.RolloutID, err))
		}
	}
	return errors.Join(refusals...)
}

func (t *turn) adopt(in *BootstrapHost, a *Adoption) error {
	s, ticket := &a.Snapshot, a.Ticket.Value()
	if ticket == nil {
		return fmt.Errorf("%w: no ticket", ErrWrongSnapshot)
	}
	id := ticket.RolloutID.String()
	switch {
	case s.Hostname != t.hostname || ticket.Hostname != t.hostname:
		return ErrWrongHost
	case t.st.rollouts[id] != nil:
		return ErrKnown
	case s.RolloutID != id || s.TargetClosure != ticket.TargetClosure || (s.HasWave && s.Wave != ticket.Wave):
		return fmt.Errorf("%w: rollout, target or wave", ErrWrongSnapshot)
	case s.PolicyHash != "" && s.PolicyHash != trust.PolicyHash(ticket):
		return fmt.Errorf("%w: policy", ErrWrongSnapshot)
	case s.LastEventSeq > MaxSeq:
		return fmt.Errorf("%w: lastEventSeq %d", ErrWrongSnapshot, s.LastEventSeq)
	case in.Current.Closure == "":
		return fmt.Errorf("%w: current-system cannot be read", ErrWrongSnapshot)
	}
	rec, err := t.adopted(in, a, ticket)
	if err != nil {
		return err
	}
	f := Captured{Record: rec, Policy: ticket.HostPolicy(), Ticket: a.Ticket.Raw(), Sig: a.Ticket.Signature(), Adopted: true}
	// Only a dispatch moves the floor; adoption must not lower it.
	if rec.State == host.Activating && (t.st.floor.Keys != in.Keys || ticket.SignedAt.After(t.st.floor.SignedAt)) {
		f.Floor = Floor{SignedAt: ticket.SignedAt, Keys: in.Keys}
	}
	if err := errors.Join(t.supersedeAll(id), t.record(f)); err != nil {
		return err
	}
	t.effect(host.EmitLog{Level: levelWarn, Message: "adopted a rollout from the control plane", Attrs: []string{"rollout", id, "state", rec.State.String()}})
	if rec.State == host.Activating {
		return t.record(Fired{RolloutID: id, Attempt: 1})
	}
	if rec.State == host.Soaking {
		t.effect(host.LocalResetProbeCache{RolloutID: id})
	}
	return nil
}

// adopted judges a snapshot against the host and gives the record that is believed.
func (t *turn) adopted(in *BootstrapHost, a *Adoption, ticket *fleet.Ticket) (host.Record, error) {
	s, current := &a.Snapshot, in.Current.Closure
	rec := host.Record{
		RolloutID: s.RolloutID, Hostname: t.hostname, Channel: ticket.Channel, Wave: ticket.Wave, State: s.State,
		TargetClosure: ticket.TargetClosure, CurrentClosure: s.CurrentClosure, PolicyHash: trust.PolicyHash(ticket),
		DispatchedAt: s.DispatchedAt, DispatchAckedAt: s.DispatchAckedAt, ActivationStartedAt: s.ActivationStartedAt,
		ActivationCompletedAt: s.ActivationCompletedAt, SoakDueAt: s.SoakDueAt, DeferredComponent: s.DeferredComponent,
		RollbackAttempts: s.RollbackAttempts, LastEventSeq: s.LastEventSeq,
	}
	if slices.Contains(in.Pinned, s.CurrentClosureAtDispatch) {
		rec.CurrentClosureAtDispatch = s.CurrentClosureAtDispatch
	}
	switch s.State {
	case host.Pending:
		return rec, fmt.Errorf("%w: a dispatch that was never accepted", ErrWrongSnapshot)
	case host.Activating:
		return rec, t.checkTurn(ticket, in.Current, in.Keys, in.MaxAge)
	case host.Deferred:
		return rec, nil
	case host.Soaking:
		return t.soakAnew(rec, current, ticket), nil
	case host.Converged:
		if current != rec.TargetClosure {
			return rec, fmt.Errorf("%w: converged, but the host runs %q", ErrWrongSnapshot, current)
		}
		rec.ConvergedAt = s.SoakDueAt
		return rec, nil
	case host.Failed:
		// Adoption never owes a rollback: without knowing what ran before there is none to owe.
		rec.CurrentClosureAtDispatch, rec.PolicyApplied = "", s.PolicyApplied
		rec.FailedAt = t.now.Wall
		return rec, nil
	case host.Reverted:
		if current == rec.TargetClosure || (s.RevertedTo != "" && current != s.RevertedTo) {
			return rec, fmt.Errorf("%w: reverted, but the host runs %q", ErrWrongSnapshot, current)
		}
		rec.CurrentClosureAtDispatch, rec.PolicyApplied = s.CurrentClosureAtDispatch, s.PolicyApplied
		rec.RevertedTo, rec.RevertedAt, rec.FailedAt = current, t.now.Wall, t.now.Wall
		return rec, nil
	}
	return rec, fmt.Errorf("%w: state %s", ErrWrongSnapshot, s.State)
}

// soakAnew begins the whole soak again: nobody knows how long the host was watched. A host that runs something else
// will fail for it at the next tick, and must then owe nothing.
func (t *turn) soakAnew(rec host.Record, current string, ticket *fleet.Ticket) host.Record {
	policy := ticket.HostPolicy()
	if due := t.now.Wall.Add(policy.Soak(rec.Wave)); due.After(rec.SoakDueAt) {
		rec.SoakDueAt = due
	}
	if rec.ActivationCompletedAt.IsZero() {
		rec.ActivationCompletedAt = t.now.Wall
	}
	if current != rec.TargetClosure {
		rec.CurrentClosureAtDispatch = ""
	}
	return rec
}
