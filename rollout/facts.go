package rollout

import (
	"slices"
	"time"

	"nixfleet/host"
)

// HostStatus is what the control plane knows of a host beside its records.
type HostStatus struct {
	// LastSeen is when the last heartbeat was received, of this run or an earlier one. Zero: never.
	LastSeen time.Time
	// Heard says that the host was heard since this control plane started and that everything it had to replay came.
	Heard bool
	// Held is why nothing may be dispatched to the host, for people. "" it is not held.
	Held string
	// Failing are the enforce probes that fail now by the last heartbeat.
	Failing []string
	// Holds is the rollout that the last heartbeat named, "" none.
	Holds string
	// RefusedRollout and RefusedReason are the dispatch that the host refuses, by the last heartbeat.
	RefusedRollout string
	RefusedReason  string
}

func (s *HostStatus) equal(o *HostStatus) bool {
	return s.LastSeen.Equal(o.LastSeen) && s.Heard == o.Heard && s.same(o)
}

// same says whether nothing but the time differs that a gate looks at.
func (s *HostStatus) same(o *HostStatus) bool {
	return s.Held == o.Held && s.Holds == o.Holds && s.RefusedRollout == o.RefusedRollout &&
		s.RefusedReason == o.RefusedReason && slices.Equal(s.Failing, o.Failing)
}

// DispatchState says how far a dispatch got.
type DispatchState uint8

// The dispatch states. An acknowledged dispatch is a record and no dispatch any more.
const (
	NotDispatched   DispatchState = iota
	DispatchQueued                // never written to a response: the host cannot know it
	DispatchWritten               // written to a response: the host may know it
)

// Dispatch is one host's dispatch in one rollout.
type Dispatch struct {
	State DispatchState
	At    time.Time // when it was queued, or written
}

// SetHost tells what is known of a host. Unchanged facts cost a comparison.
func (p *Planner) SetHost(name string, status HostStatus) {
	h := p.host(name)
	hs := &p.hosts[h]
	old := hs.status
	if old.equal(&status) {
		return
	}
	p.remember(func() { p.setStatus(h, old) })
	p.setStatus(h, status)
	p.takeAsLost(h)
}

func (p *Planner) setStatus(h int32, status HostStatus) {
	hs := &p.hosts[h]
	p.countUnheard(hs, -1)
	changed := !hs.status.same(&status)
	hs.status = status
	p.countUnheard(hs, 1)
	p.refreshHost(h)
	if changed {
		for _, at := range hs.slots {
			at.rollout.look(at.slot)
		}
	}
}

func (p *Planner) countUnheard(hs *hostState, n int) {
	if hs.channel != nil && !hs.status.Heard {
		hs.channel.unheard += n
	}
}

// takeAsLost treats a written dispatch as never written when a heartbeat came without it. One interval later than
// the writing at the earliest: a heartbeat may have been on its way.
func (p *Planner) takeAsLost(h int32) {
	hs := &p.hosts[h]
	for _, at := range hs.slots {
		s := &at.rollout.slots[at.slot]
		if s.stand.phase != written || hs.status.Holds == at.rollout.id || hs.status.RefusedRollout == at.rollout.id {
			continue
		}
		if hs.status.LastSeen.Before(s.dispatch.At.Add(p.settings.HeartbeatInterval)) {
			continue
		}
		p.setFacts(at.rollout, at.slot, slotFacts{record: s.record, cleared: s.cleared, dispatch: Dispatch{DispatchQueued, s.dispatch.At}})
	}
}

// SetRecord tells the mirror's record of one host in one rollout, after every event. The planner keeps the pointer:
// the record must not be written again.
func (p *Planner) SetRecord(rec *host.Record) {
	r, i := p.slot(rec.Hostname, rec.RolloutID, rec.Channel)
	facts := r.slots[i].slotFacts
	facts.record = rec
	if rec.State != host.Pending {
		facts.dispatch = Dispatch{}
	}
	p.setFacts(r, i, facts)
}

// RemoveRecord takes a record back: the host says it never had one.
func (p *Planner) RemoveRecord(name, rollout string) {
	if r, i, ok := p.find(name, rollout); ok {
		facts := r.slots[i].slotFacts
		facts.record = nil
		p.setFacts(r, i, facts)
	}
}

// SetDispatch tells how far a dispatch got: that it was written, or, at start, what the store has. What Plan queues
// and withdraws it knows already.
func (p *Planner) SetDispatch(name, rollout, channel string, d Dispatch) {
	r, i := p.slot(name, rollout, channel)
	facts := r.slots[i].slotFacts
	facts.dispatch = d
	p.setFacts(r, i, facts)
}

// SetCleared tells, at start, that an operator cleared the host in the rollout.
func (p *Planner) SetCleared(name, rollout, channel string) {
	r, i := p.slot(name, rollout, channel)
	facts := r.slots[i].slotFacts
	facts.cleared = true
	p.setFacts(r, i, facts)
}

// SetRollout tells, at start, a rollout of the store.
func (p *Planner) SetRollout(rec Record) {
	r := p.rollout(rec.ID, rec.Channel)
	p.setRollout(r, rec)
}

// SetQuarantine tells that a closure may not go out on a channel, or may again.
func (p *Planner) SetQuarantine(channel, closure string, on bool) {
	q := quarantine{channel, closure}
	if p.quarantin[q] == on {
		return
	}
	p.remember(func() { p.setQuarantine(q, !on) })
	p.setQuarantine(q, on)
}

func (p *Planner) setQuarantine(q quarantine, on bool) {
	c := p.channel(q.channel)
	if on {
		p.quarantin[q] = true
		c.quarantines++
	} else {
		delete(p.quarantin, q)
		c.quarantines--
	}
	if c.newest != nil {
		c.newest.lookAtAll()
	}
}

// setRollout replaces the rollout's record.
func (p *Planner) setRollout(r *rolloutState, rec Record) {
	old := r.rec
	p.remember(func() { p.putRollout(r, old) })
	p.putRollout(r, rec)
}

func (p *Planner) putRollout(r *rolloutState, rec Record) {
	opened := !r.rec.OpenedAt.Equal(rec.OpenedAt)
	r.rec, r.moved = rec, true
	if opened && p.newest(r) {
		p.refreshUnseen(p.channels[r.channel])
	}
}

// refreshUnseen is for when the channel's newest rollout opened: the silence of hosts never seen counts from there.
func (p *Planner) refreshUnseen(c *channelState) {
	for h := range p.hosts {
		if hs := &p.hosts[h]; hs.channel == c && hs.status.LastSeen.IsZero() {
			p.refreshHost(int32(h))
		}
	}
}

// setFacts replaces what is known of a slot.
func (p *Planner) setFacts(r *rolloutState, i int32, facts slotFacts) {
	old, h := r.slots[i].slotFacts, r.slots[i].host
	if old == facts {
		return
	}
	if p.undoing {
		id := r.id
		// By host and id: the slot may have moved when the documents changed meanwhile.
		p.remember(func() {
			if r, i, ok := p.findIn(h, id); ok {
				p.putFacts(r, i, old)
			}
		})
	}
	p.putFacts(r, i, facts)
}

func (p *Planner) putFacts(r *rolloutState, i int32, facts slotFacts) {
	r.slots[i].slotFacts = facts
	p.refreshSlot(r, i)
	p.recount(r.slots[i].host)
}

// slot returns the host's slot in the rollout, making an unlisted one if there is none.
func (p *Planner) slot(name, rollout, channel string) (*rolloutState, int32) {
	h := p.host(name)
	if r, i, ok := p.findIn(h, rollout); ok {
		return r, i
	}
	r := p.rollout(rollout, channel)
	i := r.grow(h)
	p.hosts[h].slots = append(p.hosts[h].slots, place{r, i})
	p.refreshHost(h)
	return r, i
}

// grow adds a slot for a host that the manifest does not list.
func (r *rolloutState) grow(h int32) int32 {
	i := int32(len(r.slots))
	r.slots = append(r.slots, slot{host: h, entry: -1, wave: -1, parked: -1})
	r.count[idle]++
	if n := (len(r.slots) + 63) / 64; n > len(r.dirty) {
		r.pending, r.issued, r.dirty = append(r.pending, 0), append(r.issued, 0), append(r.dirty, 0)
	}
	return i
}
