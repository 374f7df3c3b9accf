package rollout

import (
	"slices"
	"strings"

	"nixfleet/fleet"
)

// budget is one disruption budget of one manifest, its hosts resolved.
type budget struct {
	key   string // equal for equal selectors
	hosts []int32
	limit int32
}

// group is all budgets with an equal selector, of whatever channel: they share one count of hosts in flight, and the
// smallest limit holds. A host in two of them at once needs a slot in both.
type group struct {
	key      string
	limit    int32
	inFlight int32
	freed    bool
}

func (g *group) count(in bool) {
	if in {
		g.inFlight++
		return
	}
	g.inFlight--
}

// free notes that the group may have a slot more than at the last pass.
func (p *Planner) free(g int32) {
	if !p.groups[g].freed {
		p.groups[g].freed = true
		p.freed = append(p.freed, g)
	}
}

// selectorKey writes a selector so that two with the same rules, in whatever order, are written alike.
func selectorKey(s fleet.Selector) string {
	var b strings.Builder
	list := func(name string, values []string) {
		values = slices.Compact(slices.Sorted(slices.Values(values)))
		if len(values) > 0 {
			b.WriteString(name + "=" + strings.Join(values, ",") + " ")
		}
	}
	if s.All {
		b.WriteString("all ")
	}
	if s.Channel != "" {
		b.WriteString("channel=" + s.Channel + " ")
	}
	list("tags", s.Tags)
	list("tagsAny", s.TagsAny)
	list("hosts", s.Hosts)
	return strings.TrimSuffix(b.String(), " ")
}

// resolveBudgets finds the hosts of a manifest's budgets.
func (p *Planner) resolveBudgets(m *fleet.Manifest) []budget {
	out := make([]budget, 0, len(m.DisruptionBudgets))
	for _, b := range m.DisruptionBudgets {
		resolved := budget{key: selectorKey(b.Selector), limit: int32(b.Limit()), hosts: make([]int32, len(b.Hosts))}
		for i, name := range b.Hosts {
			resolved.hosts[i] = p.host(name)
		}
		out = append(out, resolved)
	}
	return out
}

// groupBudgets makes the groups again from the newest manifests. Every budget that any of them has binds every host
// it selects, whichever rollout that host is dispatched in.
func (p *Planner) groupBudgets() {
	p.regroup = false
	byKey := map[string][]budget{}
	for _, r := range p.inOrder() {
		if p.newest(r) {
			for _, b := range r.budgets {
				byKey[b.key] = append(byKey[b.key], b)
			}
		}
	}
	keys := make([]string, 0, len(byKey))
	for k := range byKey {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	p.groups, p.freed = make([]*group, len(keys)), nil
	for h := range p.hosts {
		p.hosts[h].groups = p.hosts[h].groups[:0]
	}
	for i, k := range keys {
		p.groups[i] = p.joinGroup(int32(i), byKey[k])
	}
	for _, r := range p.order {
		clear(r.parked)
		for i := range r.slots {
			r.slots[i].parked = -1
		}
		r.lookAtAll()
	}
}

func (p *Planner) joinGroup(i int32, budgets []budget) *group {
	g := &group{key: budgets[0].key, limit: budgets[0].limit}
	for _, b := range budgets {
		g.limit = min(g.limit, b.limit)
		for _, h := range b.hosts {
			hs := &p.hosts[h]
			if n := len(hs.groups); n > 0 && hs.groups[n-1] == i {
				continue // the other manifest named it already
			}
			hs.groups = append(hs.groups, i)
			if hs.counted {
				g.inFlight++
			}
		}
	}
	return g
}

// lookAtAll has every slot that waits or has an unacknowledged dispatch looked at.
func (r *rolloutState) lookAtAll() {
	r.dirty.add(r.pending)
	r.dirty.add(r.issued)
	r.anyDirty = true
}

// park has the slot wait for the budget.
func (r *rolloutState) park(i, g int32) {
	set := r.parked[g]
	if set == nil {
		set = newBitset(len(r.slots))
		r.parked[g] = set
	}
	set.set(int(i))
	r.slots[i].parked = g
}

func (r *rolloutState) unpark(i int32) {
	if g := r.slots[i].parked; g >= 0 {
		r.parked[g].clear(int(i))
		r.slots[i].parked = -1
	}
}
