package rollout

import "nixfleet/host"

// phase is where a host stands in a rollout, as the planner sees it: the host's state, told apart by what the
// control plane knows beside it.
type phase uint8

const (
	idle        phase = iota // nothing was dispatched
	queued                   // dispatched, never written to a response
	written                  // written to a response, not acknowledged
	activating               //
	deferred                 //
	soaking                  //
	converged                //
	rollingBack              // failed and owes a rollback
	failed                   // failed and owes none
	reverted                 //
	cleared                  // failed or reverted, and an operator cleared it
	superseded               // the host accepted a newer dispatch
	phases      = iota
)

// inFlight are the phases that take a slot of a budget.
func (ph phase) inFlight() bool {
	switch ph {
	case queued, written, activating, soaking, rollingBack, failed:
		return true
	case idle, deferred, converged, reverted, cleared, superseded:
		return false
	}
	return false
}

// joined are the phases of a host that accepted its dispatch and may still go on in the rollout.
func (ph phase) joined() bool {
	switch ph {
	case activating, deferred, soaking, converged, rollingBack, failed, reverted:
		return true
	case idle, queued, written, cleared, superseded:
		return false
	}
	return false
}

// done are the phases that promotion does not wait for.
func (ph phase) done() bool { return ph == converged || ph == deferred }

// standing is what a slot adds to the counts of its wave, rollout and budgets.
type standing struct {
	phase   phase
	skip    bool // promotion and Terminal do not wait for it
	failing bool // an enforce probe fails now
}

func (f *slotFacts) phase() phase {
	if f.record == nil || f.record.State == host.Pending {
		switch f.dispatch.State {
		case NotDispatched:
			return idle
		case DispatchQueued:
			return queued
		case DispatchWritten:
			return written
		}
		return idle
	}
	if f.record.SupersededBy != "" {
		return superseded
	}
	switch f.record.State {
	case host.Pending: // told apart above
	case host.Activating:
		return activating
	case host.Deferred:
		return deferred
	case host.Soaking:
		return soaking
	case host.Converged:
		return converged
	case host.Failed:
		if f.cleared {
			return cleared
		}
		if host.Owed(f.record) {
			return rollingBack
		}
		return failed
	case host.Reverted:
		if f.cleared {
			return cleared
		}
		return reverted
	}
	return idle
}

// standing computes what the slot should count as.
func (p *Planner) standing(r *rolloutState, s *slot) standing {
	h := &p.hosts[s.host]
	ph := s.phase()
	out := standing{phase: ph}
	moved := h.channel == nil || h.channel.name != r.channel
	out.skip = ph == cleared || ph == superseded || moved || h.offline
	// Of a silent host nothing is known now, and a cleared one was looked at.
	out.failing = !out.skip && len(h.status.Failing) > 0
	return out
}

// refreshSlot brings every count and set up to date with the slot's facts.
func (p *Planner) refreshSlot(r *rolloutState, i int32) {
	s := &r.slots[i]
	was, is := s.stand, p.standing(r, s)
	if was == is {
		return
	}
	s.stand = is
	r.count[was.phase]--
	r.count[is.phase]++
	if s.wave >= 0 {
		w := &r.waves[s.wave]
		w.add(was, -1)
		w.add(is, 1)
		r.pending.put(int(i), is.phase == idle)
	}
	r.issued.put(int(i), is.phase == queued || is.phase == written)
	if d := weight(is) - weight(was); d != 0 {
		r.inFlight += d
		p.hosts[s.host].inFlight += d
	}
	r.moved = true
	r.look(i)
	if was.passed() != is.passed() {
		p.lookAtGated(s.host)
	}
	if was.phase.joined() != is.phase.joined() {
		p.lookElsewhere(r, s.host)
	}
}

// lookElsewhere has the host's other dispatches looked at: one that it accepted takes the older ones back.
func (p *Planner) lookElsewhere(r *rolloutState, h int32) {
	for _, at := range p.hosts[h].slots {
		if at.rollout != r {
			at.rollout.look(at.slot)
		}
	}
}

func weight(s standing) int32 {
	if s.phase.inFlight() {
		return 1
	}
	return 0
}

// passed says whether a host that goes after this one may go.
func (s standing) passed() bool { return s.skip || s.phase == converged }

func (w *waveState) add(s standing, n int32) {
	w.count[s.phase] += n
	if s.skip && !s.phase.done() {
		w.skippedOpen += n
	}
	if s.skip && s.phase != converged {
		w.skippedLeft += n
	}
	if s.failing {
		w.failing += n
	}
}

// look has the slot looked at in the next pass.
func (r *rolloutState) look(i int32) {
	r.dirty.set(int(i))
	r.anyDirty = true
}

// refreshHost brings the host's silence, its slots and its budgets up to date.
func (p *Planner) refreshHost(h int32) {
	hs := &p.hosts[h]
	p.refreshSilence(h)
	for _, at := range hs.slots {
		p.refreshSlot(at.rollout, at.slot)
	}
	p.recount(h)
}

// recount lets the host count in its budgets if it should: once, however many slots it has in flight, and not when
// it was silent for too long. One that was not heard since the start may be doing anything.
func (p *Planner) recount(h int32) {
	hs := &p.hosts[h]
	counts := !hs.offline && (hs.inFlight > 0 || p.unheard(hs))
	if counts == hs.counted {
		return
	}
	hs.counted = counts
	for _, g := range hs.groups {
		p.groups[g].count(counts)
		if !counts {
			p.free(g)
		}
	}
	// Whether the host itself needs a free slot has changed.
	for _, at := range hs.slots {
		at.rollout.look(at.slot)
	}
}

// unheard says whether the host was there when the control plane started and was not heard since.
func (p *Planner) unheard(hs *hostState) bool {
	return hs.channel != nil && !hs.status.Heard && !hs.listedAt.After(p.warmUntil)
}
