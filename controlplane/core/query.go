package core

import (
	"fmt"
	"maps"
	"slices"

	"nixfleet/controlplane/ledger"
	"nixfleet/rollout"
)

// maxPage is how many hosts one answer lists: the reducer makes it, and events wait meanwhile.
const maxPage = 1000

func (t *tx) answer(q Question) (Answer, error) {
	c := t.core
	switch q := q.(type) {
	case AskHosts:
		return c.listHosts(q), nil
	case AskRollouts:
		return RolloutsAnswer{c.listRollouts(q.RolloutID)}, nil
	case AskWhy:
		return c.why(q.Host), nil
	case AskQuarantines:
		return QuarantinesAnswer{c.listQuarantines()}, nil
	case AskOverview:
		return OverviewAnswer{c.overview()}, nil
	}
	return nil, fmt.Errorf("core: unknown question %T", q)
}

// names lists every host that was heard of or is in the fleet, in order.
func (c *Core) names() []string {
	names := sortedHosts(c.hosts)
	if c.documents == nil || c.documents.Fleet.Value() == nil {
		return names
	}
	for name := range c.documents.Fleet.Value().Hosts {
		if c.hosts[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *Core) summary(name, rolloutID string) (HostSummary, bool) {
	s := HostSummary{Host: name}
	h := c.hosts[name]
	if h == nil {
		return s, rolloutID == ""
	}
	s.Current, s.LastSeen, s.AgentVersion, s.Held, s.Degraded = h.beat.current, h.beat.lastSeen, h.beat.version, h.held(), h.beat.degraded
	r := h.newest()
	if rolloutID != "" {
		m := h.mirror(rolloutID)
		if m == nil || m.record == nil {
			return s, false
		}
		r = m.record
	}
	if r != nil {
		s.RolloutID, s.State = r.RolloutID, r.State.String()
	}
	return s, true
}

func (c *Core) listHosts(q AskHosts) HostsAnswer {
	limit := q.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	names := c.names()
	from, found := slices.BinarySearch(names, q.After)
	if found {
		from++
	}
	a := HostsAnswer{Hosts: []HostSummary{}}
	for _, name := range names[from:] {
		s, ok := c.summary(name, q.RolloutID)
		if !ok {
			continue
		}
		if len(a.Hosts) == limit {
			a.Next = a.Hosts[limit-1].Host
			return a
		}
		a.Hosts = append(a.Hosts, s)
	}
	return a
}

// listRollouts lists rollouts, newest first.
func (c *Core) listRollouts(id string) []RolloutSummary {
	out := []RolloutSummary{}
	for _, rid := range slices.Sorted(maps.Keys(c.rollouts)) {
		r := c.rollouts[rid]
		if id == "" || id == rid {
			out = append(out, RolloutSummary{Record: *r, Waves: c.planner.Waves(rid), Newest: c.planner.Newest(r.Channel) == rid})
		}
	}
	slices.SortStableFunc(out, func(a, b RolloutSummary) int { return b.Record.OpenedAt.Compare(a.Record.OpenedAt) })
	return out
}

func (c *Core) why(name string) WhyAnswer {
	s, _ := c.summary(name, "")
	known := c.hosts[name] != nil
	if !known && c.documents != nil && c.documents.Fleet.Value() != nil {
		_, known = c.documents.Fleet.Value().Hosts[name]
	}
	if !known {
		return WhyAnswer{}
	}
	a := WhyAnswer{Known: true, Why: Why{Host: s}}
	if reason, waits := c.planner.Reason(name); waits {
		a.Why.Reason, a.Why.Waiting = *reason, true
	}
	return a
}

func (c *Core) listQuarantines() []ledger.QuarantineView {
	out := []ledger.QuarantineView{}
	for _, q := range c.quarantines {
		out = append(out, *q)
	}
	slices.SortFunc(out, func(a, b ledger.QuarantineView) int {
		return slices.Compare([]string{a.Channel, a.Closure}, []string{b.Channel, b.Closure})
	})
	return out
}

func (c *Core) overview() Overview {
	o := Overview{States: map[string]int{}, LogSeq: c.head.Seq, LogHead: c.head.Hash.String(), Rollouts: c.listRollouts("")}
	for _, h := range c.hosts {
		o.Hosts++
		if len(h.holds) > 0 {
			o.Held++
		}
		if r := h.newest(); r != nil {
			o.States[r.State.String()]++
		}
	}
	for _, q := range c.quarantines {
		if q.ClearedAt.IsZero() {
			o.Quarantines++
		}
	}
	o.Rollouts = slices.DeleteFunc(o.Rollouts, func(r RolloutSummary) bool { return r.Record.State == rollout.Superseded })
	return o
}
