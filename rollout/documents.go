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
	for _, r := range p.inOrder() {
		p.wireEdges(r)
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
	p.wireEdges(r)
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

// wireEdges finds the host edges within the rollout. An edge to a host that the rollout does not have holds nobody:
// between channels there are channel edges.
func (p *Planner) wireEdges(r *rolloutState) {
	r.waits, r.opens = nil, nil
	if p.fleet == nil || r.manifest == nil || len(p.fleet.Edges) == 0 {
		return
	}
	r.waits, r.opens = map[int32][]int32{}, map[int32][]int32{}
	for _, e := range p.fleet.Edges {
		_, gates, ok := p.find(e.Gates, r.id)
		_, gated, ok2 := p.find(e.Gated, r.id)
		if ok && ok2 && !slices.Contains(r.waits[gated], gates) {
			r.waits[gated] = append(r.waits[gated], gates)
			r.opens[gates] = append(r.opens[gates], gated)
		}
	}
	for gated := range r.waits {
		slices.Sort(r.waits[gated]) // the first by wave and name is the one a reason names
	}
}
