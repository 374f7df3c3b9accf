package rollout

import (
	"cmp"
	"maps"
	"slices"

	"nixfleet/fleet"
)

// SetFleet tells the newest verified fleet: who is on which channel, the edges, and how long signatures hold. It
// costs the whole fleet. Documents are never taken back by Rollback. The fleet must not be written again.
func (p *Planner) SetFleet(f *fleet.Fleet) {
	p.fleet = f
	for h := range p.hosts {
		p.hosts[h].channel = nil
	}
	for _, c := range p.channels {
		c.unheard, c.window, c.after = 0, 0, nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.Channels)) {
		p.channel(name).window = f.Channels[name].Window()
	}
	for _, e := range f.ChannelEdges {
		c := p.channel(e.Gated)
		c.after = append(c.after, e.Gates)
		slices.Sort(c.after)
	}
	p.hosts = slices.Grow(p.hosts, max(0, len(f.Hosts)-len(p.hosts)))
	for _, name := range slices.Sorted(maps.Keys(f.Hosts)) {
		h := p.host(name)
		p.hosts[h].channel = p.channel(f.Hosts[name].Channel)
		p.countUnheard(&p.hosts[h], 1)
	}
	p.wireEdges()
	for _, r := range p.inOrder() {
		r.lookAtAll()
		r.moved = true
	}
	for h := range p.hosts {
		p.refreshHost(int32(h))
	}
}

// SetManifest tells a verified manifest. newest makes it the one its channel goes out with: the next pass opens it.
// Older ones are needed only while hosts may still be in flight in them. A manifest signed again with the same hosts
// costs a comparison; any other costs its hosts. It must not be written again.
func (p *Planner) SetManifest(m *fleet.Manifest, newest bool) {
	r := p.rollout(m.ID().String(), m.Channel)
	old := r.manifest
	r.manifest = m
	if old == nil || !slices.Equal(old.HostSet, m.HostSet) {
		p.relist(r)
	}
	r.budgets = p.resolveBudgets(m)
	p.regroup = true
	r.moved = true
	c := p.channel(m.Channel)
	if !newest || c.newest == r {
		return
	}
	c.newest = r
	p.refreshUnseen(c)
	r.lookAtAll()
	for gates := range p.opens { // who goes first goes first in its channel's newest rollout
		p.lookAtGated(gates)
	}
}

// relist gives the rollout a slot for every host of its manifest, in order of wave and name, and keeps what is known.
func (p *Planner) relist(r *rolloutState) {
	known := r.slots
	for i := range known {
		h := known[i].host
		p.leave(h, r)
		p.hosts[h].inFlight -= weight(known[i].stand)
	}
	r.layOut(p)
	for i := range r.slots {
		h := r.slots[i].host
		p.hosts[h].slots = append(p.hosts[h].slots, place{r, int32(i)})
	}
	for i := range known {
		_, at, ok := p.findIn(known[i].host, r.id)
		if !ok {
			if known[i].slotFacts == (slotFacts{}) {
				p.recount(known[i].host)
				continue
			}
			at = r.grow(known[i].host)
			p.hosts[known[i].host].slots = append(p.hosts[known[i].host].slots, place{r, at})
		}
		r.slots[at].slotFacts = known[i].slotFacts
	}
	for i := range r.slots {
		p.refreshHost(r.slots[i].host)
	}
	r.lookAtAll()
}

// layOut makes empty slots and waves for the manifest.
func (r *rolloutState) layOut(p *Planner) {
	set := r.manifest.HostSet
	byWave := make([]int32, len(set)) // entries, which are sorted by name already
	for i := range byWave {
		byWave[i] = int32(i)
	}
	slices.SortStableFunc(byWave, func(a, b int32) int { return cmp.Compare(set[a].WaveIndex, set[b].WaveIndex) })
	r.slots, r.listed = make([]slot, len(set)), len(set)
	r.waves, r.count, r.inFlight = nil, [phases]int32{}, 0
	r.pending, r.issued, r.dirty = newBitset(len(set)), newBitset(len(set)), newBitset(len(set))
	clear(r.parked)
	for i, entry := range byWave {
		wave := int(set[entry].WaveIndex)
		for len(r.waves) <= wave {
			r.waves = append(r.waves, waveState{start: i, end: i})
		}
		w := &r.waves[wave]
		w.end++
		w.count[idle]++
		r.count[idle]++
		r.pending.set(i)
		r.slots[i] = slot{host: p.host(set[entry].Hostname), entry: entry, wave: int32(wave), parked: -1}
	}
}

// wireEdges reads the fleet's host edges.
func (p *Planner) wireEdges() {
	p.waits, p.opens = map[int32][]int32{}, map[int32][]int32{}
	for _, e := range p.fleet.Edges {
		gates, gated := p.host(e.Gates), p.host(e.Gated)
		if !slices.Contains(p.waits[gated], gates) {
			p.waits[gated] = append(p.waits[gated], gates)
			p.opens[gates] = append(p.opens[gates], gated)
		}
	}
	for _, first := range p.waits {
		// By name: the first that holds is the one a reason names.
		slices.SortFunc(first, func(a, b int32) int { return cmp.Compare(p.hosts[a].name, p.hosts[b].name) })
	}
}

// lookAtGated has the hosts looked at that go after this one.
func (p *Planner) lookAtGated(h int32) {
	for _, gated := range p.opens[h] {
		for _, at := range p.hosts[gated].slots {
			at.rollout.look(at.slot)
		}
	}
}
