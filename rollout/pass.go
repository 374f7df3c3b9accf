package rollout

import "time"

// Plan makes one pass and returns its decisions in a fixed order: what happens to rollouts, what is withdrawn, then
// what is queued or deferred, then what is pruned, each by channel, rollout, wave and host name. The planner counts
// them at once; see Begin. now must not lie before that of the pass before.
func (p *Planner) Plan(now time.Time) []Action {
	p.out, p.shared = nil, map[sharedReason]*Reason{}
	p.advance(now)
	p.moveRollouts()
	if p.regroup {
		p.groupBudgets()
	}
	p.reblock()
	p.withdraw()
	p.dispatch()
	p.retire() // last: what was withdrawn may have been all that kept a rollout
	if !p.undoing {
		p.forget()
	}
	out := p.out
	p.out, p.shared = nil, nil
	return out
}

// withdraw takes back what must not be delivered any more.
func (p *Planner) withdraw() {
	for _, r := range p.inOrder() {
		if !r.anyDirty {
			continue
		}
		for i := r.dirty.nextInBoth(r.issued, 0); i >= 0; i = r.dirty.nextInBoth(r.issued, i+1) {
			p.reconsider(r, int32(i))
		}
		if !p.newest(r) { // nobody is dispatched here any more
			clear(r.dirty)
			r.anyDirty = false
		}
	}
	for g := range p.groups {
		if p.groups[g].inFlight > p.groups[g].limit {
			p.shrink(int32(g))
		}
	}
}

// reconsider takes an unacknowledged dispatch back if it may not stand. One that was written may be on its way to
// the host: it stands until the host is offline or has accepted a newer one.
func (p *Planner) reconsider(r *rolloutState, i int32) {
	s := &r.slots[i]
	h := &p.hosts[s.host]
	switch {
	case !p.newest(r) && p.joinedNewest(h):
		p.takeBack(r, i, p.supersededReason(r))
	case s.stand.phase == written && h.offline:
		p.takeBack(r, i, p.reason(r, i, blocked{gate: Silent}))
	case s.stand.phase == queued && !p.newest(r):
		p.takeBack(r, i, p.supersededReason(r))
	case s.stand.phase == queued:
		// A budget that is exceeded is brought back as a whole, from its end.
		if b := p.gate(r, i, true); b.gate != Open && b.gate != DisruptionBudget {
			p.takeBack(r, i, p.reason(r, i, b))
		}
	}
}

// joinedNewest says whether the host accepted the dispatch of its channel's newest rollout.
func (p *Planner) joinedNewest(h *hostState) bool {
	for _, at := range h.slots {
		if p.newest(at.rollout) && at.rollout.slots[at.slot].stand.phase.joined() {
			return true
		}
	}
	return false
}

func (p *Planner) takeBack(r *rolloutState, i int32, why *Reason) {
	s := &r.slots[i]
	p.setFacts(r, i, slotFacts{record: s.record, cleared: s.cleared})
	p.out = append(p.out, WithdrawDispatch{Host: p.hosts[s.host].name, Rollout: r.id, Reason: why})
}

// shrink withdraws queued dispatches, the last first, until the budget holds or only hosts are left that may be
// doing something already.
func (p *Planner) shrink(g int32) {
	order := p.inOrder()
	for n := len(order) - 1; n >= 0; n-- {
		r := order[n]
		for i := len(r.slots) - 1; i >= 0 && p.groups[g].inFlight > p.groups[g].limit; i-- {
			s := &r.slots[i]
			if s.stand.phase != queued || p.hosts[s.host].inFlight > 1 || !p.hosts[s.host].counted {
				continue
			}
			if b, full := p.full(&p.hosts[s.host], true); full {
				p.takeBack(r, int32(i), p.reason(r, int32(i), blocked{DisruptionBudget, b}))
			}
		}
	}
}

// dispatch queues whoever may go. Candidates are the slots that something changed for, and of the budgets with room
// their waiting hosts, one by one while the room lasts, all in one order. Nothing that happens here lets an earlier
// slot go, so one look is enough.
func (p *Planner) dispatch() {
	for _, r := range p.inOrder() {
		if p.newest(r) && r.manifest != nil {
			p.dispatchIn(r)
		}
	}
	for _, g := range p.freed {
		p.groups[g].freed = false
	}
	p.freed = p.freed[:0]
}

func (p *Planner) dispatchIn(r *rolloutState) {
	end := r.releasedEnd()
	if !r.anyDirty && len(p.freed) == 0 {
		return
	}
	for i := p.nextCandidate(r, 0, end); i >= 0; i = p.nextCandidate(r, i+1, end) {
		r.dirty.clear(i)
		if r.pending.has(i) {
			p.decide(r, int32(i))
		}
	}
	r.anyDirty = false
}

// releasedEnd is where the slots of released waves end. Slots behind keep their marks until their wave is released.
func (r *rolloutState) releasedEnd() int {
	if w := int(r.block.wave); w >= 0 && w < len(r.waves) {
		return r.waves[w].end
	}
	return 0
}

func (p *Planner) nextCandidate(r *rolloutState, from, end int) int {
	best := -1
	if r.anyDirty {
		best = r.dirty.next(from, end)
	}
	for _, g := range p.freed {
		if p.groups[g].inFlight >= p.groups[g].limit || r.parked[g] == nil {
			continue
		}
		if i := r.parked[g].next(from, end); i >= 0 && (best < 0 || i < best) {
			best = i
		}
	}
	return best
}

// decide queues the slot's host or says once what it waits for.
func (p *Planner) decide(r *rolloutState, i int32) {
	s := &r.slots[i]
	r.unpark(i)
	b := p.gate(r, i, false)
	if b.gate == Open {
		s.told = Open
		p.setFacts(r, i, slotFacts{record: s.record, cleared: s.cleared, dispatch: Dispatch{DispatchQueued, p.now}})
		r.dirty.clear(int(i))
		p.out = append(p.out, QueueDispatch{
			Host: p.hosts[s.host].name, Rollout: r.id, Channel: r.channel, Wave: uint32(s.wave),
			TargetClosure: r.target(s), At: p.now,
		})
		return
	}
	if b.gate == DisruptionBudget {
		r.park(i, b.ref)
	}
	if b.gate != s.told {
		s.told = b.gate
		p.out = append(p.out, DeferDispatch{Host: p.hosts[s.host].name, Rollout: r.id, Reason: p.reason(r, i, b)})
	}
}
