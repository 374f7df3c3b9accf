package fleet

import "slices"

// Selector picks hosts by what they are. Any rule that fires matches; a selector without rules matches nothing.
// docs/design/05-trust.md.
type Selector struct {
	Tags    []string // fires if not empty and the host has every one
	TagsAny []string // fires if the host has one of them
	Hosts   []string // fires if the host is named
	Channel string   // fires if not empty and the host is on it
	All     bool     // fires
}

// Matches says whether the host of that name is selected.
func (s Selector) Matches(name string, h Host) bool {
	hasTag := func(tag string) bool { return slices.Contains(h.Tags, tag) }
	return s.All ||
		s.Channel != "" && s.Channel == h.Channel ||
		slices.Contains(s.Hosts, name) ||
		slices.ContainsFunc(s.TagsAny, hasTag) ||
		len(s.Tags) > 0 && !slices.ContainsFunc(s.Tags, func(tag string) bool { return !hasTag(tag) })
}

// Empty says whether no rule is there to fire.
func (s Selector) Empty() bool {
	return !s.All && s.Channel == "" && len(s.Hosts) == 0 && len(s.TagsAny) == 0 && len(s.Tags) == 0
}

// Equal says whether two selectors have the same rules, whatever their order. Budgets with equal selectors are one.
func (s Selector) Equal(o Selector) bool {
	return s.All == o.All && s.Channel == o.Channel &&
		sameSet(s.Tags, o.Tags) && sameSet(s.TagsAny, o.TagsAny) && sameSet(s.Hosts, o.Hosts)
}

func sameSet(a, b []string) bool {
	return slices.Equal(sortedSet(a), sortedSet(b))
}

func sortedSet(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }

// matcher is a selector prepared for many hosts: a list of 100,000 host names is searched once per host otherwise.
type matcher struct {
	rest  Selector // without Hosts
	named map[string]struct{}
}

func (s Selector) prepared() matcher {
	m := matcher{rest: s, named: make(map[string]struct{}, len(s.Hosts))}
	m.rest.Hosts = nil
	for _, name := range s.Hosts {
		m.named[name] = struct{}{}
	}
	return m
}

func (m matcher) matches(name string, h Host) bool {
	_, named := m.named[name]
	return named || m.rest.Matches(name, h)
}
