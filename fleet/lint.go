package fleet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrLint is the class of everything [Lint] refuses.
var ErrLint = errors.New("fleet")

// Lint says why a fleet must not be released, one sentence each, nil if nothing speaks against it: names that are
// nowhere, hosts in no wave or in two, empty waves, budgets that can never be met, and orders that wait for themselves.
// It looks at what a human can still change before signing; the form of the document is ParseFleet's. The sentences
// come in a stable order. docs/design/05-trust.md and docs/design/07-control-plane.md.
func Lint(f *Fleet) []error {
	l := &linter{f: f, index: indexOf(f)}
	if f.SchemaVersion != SchemaVersion {
		l.refuse("schemaVersion is %d, want %d", f.SchemaVersion, SchemaVersion)
	}
	l.hosts()
	l.channels()
	l.policies()
	l.waves()
	l.edges()
	l.budgets()
	if len(l.errs) == 0 {
		// Only a fleet whose names all mean something can be asked whether it waits for itself.
		l.order()
	}
	return l.errs
}

type linter struct {
	f     *Fleet
	index index
	errs  []error
}

// refusal gives an error that is a sentence already the class ErrLint.
type refusal struct{ error }

func (r refusal) Is(target error) bool { return target == ErrLint }
func (r refusal) Unwrap() error        { return r.error }

// index is what a selector can name.
type index struct {
	tags map[string]struct{}
	on   map[string][]string // hosts by channel, sorted
}

func indexOf(f *Fleet) index {
	x := index{tags: map[string]struct{}{}, on: map[string][]string{}}
	for name, h := range f.Hosts {
		for _, tag := range h.Tags {
			x.tags[tag] = struct{}{}
		}
		x.on[h.Channel] = append(x.on[h.Channel], name)
	}
	for _, names := range x.on {
		slices.Sort(names)
	}
	return x
}

func (l *linter) refuse(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf("%w: %s", ErrLint, fmt.Sprintf(format, args...)))
}

func (l *linter) hosts() {
	var badKeys []string
	for _, name := range sortedNames(l.f.Hosts) {
		if h := l.f.Hosts[name]; h.Pubkey != "" {
			if _, err := ParsePubkey(h.Pubkey); err != nil {
				badKeys = append(badKeys, name)
			}
		}
	}
	if badKeys != nil {
		l.refuse("the pubkey of %s is not a line \"ssh-ed25519 AAAA...\": nothing the host reports could be believed", listed(badKeys))
	}
	for _, channel := range sortedNames(l.index.on) {
		if _, ok := l.f.Channels[channel]; !ok {
			l.refuse("channel %q of host %s is not there, want one of: %s", channel, listed(l.index.on[channel]), listed(sortedNames(l.f.Channels)))
		}
	}
}

func (l *linter) channels() {
	for _, name := range sortedNames(l.f.Channels) {
		if _, err := NewRolloutID(name, "ref"); err != nil {
			l.refuse("channel %q cannot be part of a rollout id: %v", name, err)
		}
		if c := l.f.Channels[name]; !hasKey(l.f.RolloutPolicies, c.RolloutPolicy) {
			l.refuse("channel %q has the policy %q, which is not there, want one of: %s", name, c.RolloutPolicy, listed(sortedNames(l.f.RolloutPolicies)))
		}
	}
	for _, name := range sortedNames(l.f.Waves) {
		if !hasKey(l.f.Channels, name) {
			l.refuse("waves.%s: there is no channel %q", name, name)
		}
	}
}

func (l *linter) policies() {
	for _, name := range sortedNames(l.f.RolloutPolicies) {
		p := l.f.RolloutPolicies[name]
		if p.ActivationTimeoutSeconds == 0 {
			l.refuse("rolloutPolicies.%s: activationTimeoutSeconds is 0, so every switch fails", name)
		}
		for i, w := range p.Waves {
			l.selector(fmt.Sprintf("rolloutPolicies.%s.waves[%d].selector", name, i), w.Selector)
		}
	}
}

// selector refuses one that names what is nowhere: it would silently select less than its author thinks.
func (l *linter) selector(at string, s Selector) {
	if s.Empty() {
		l.refuse("%s: no rule, so it selects nothing", at)
	}
	if s.Channel != "" && !hasKey(l.f.Channels, s.Channel) {
		l.refuse("%s: there is no channel %q", at, s.Channel)
	}
	var tags, hosts []string
	for _, tag := range append(slices.Clone(s.Tags), s.TagsAny...) {
		if !hasKey(l.index.tags, tag) {
			tags = append(tags, tag)
		}
	}
	for _, name := range s.Hosts {
		if !hasKey(l.f.Hosts, name) {
			hosts = append(hosts, name)
		}
	}
	if tags != nil {
		l.refuse("%s: no host has the tag %s", at, listed(tags))
	}
	if hosts != nil {
		l.refuse("%s: there is no host %s", at, listed(hosts))
	}
}

// waves looks at the channels that have something to roll out.
func (l *linter) waves() {
	for _, channel := range ReleasableChannels(l.f) {
		if _, ok := l.f.Policy(channel); !ok {
			continue // said already
		}
		waves, err := ResolveWaves(l.f, channel)
		if err != nil {
			l.errs = append(l.errs, refusal{err})
			continue
		}
		l.channelWaves(channel, waves)
	}
}

func (l *linter) channelWaves(channel string, waves []Wave) {
	seen := map[string]int{}
	for i, w := range waves {
		var strangers, twice []string
		moving := 0
		for _, name := range w.Hosts {
			h, known := l.f.Hosts[name]
			if !known || h.Channel != channel {
				strangers = append(strangers, name)
				continue
			}
			if _, dup := seen[name]; dup {
				twice = append(twice, name)
			}
			seen[name] = i
			if h.ClosureHash != "" {
				moving++
			}
		}
		if strangers != nil {
			l.refuse("waves.%s[%d] has hosts that are not on the channel: %s", channel, i, listed(strangers))
		}
		if twice != nil {
			l.refuse("waves.%s[%d] has hosts that are in a wave already: %s", channel, i, listed(twice))
		}
		if moving == 0 {
			l.refuse("wave %d of channel %q is empty: no host with a closure is in it, so it could never be done", i, channel)
		}
	}
	var lost []string
	for _, name := range l.index.on[channel] {
		if _, ok := seen[name]; !ok && l.f.Hosts[name].ClosureHash != "" {
			lost = append(lost, name)
		}
	}
	if lost != nil {
		l.refuse("hosts of channel %q in no wave: %s", channel, listed(lost))
	}
}

func (l *linter) edges() {
	for i, e := range l.f.Edges {
		for _, name := range []string{e.Gated, e.Gates} {
			if !hasKey(l.f.Hosts, name) {
				l.refuse("edges[%d]: there is no host %q", i, name)
			}
		}
		if h, ok := l.f.Hosts[e.Gates]; ok && h.ClosureHash == "" {
			l.refuse("edges[%d]: %s waits for %s, which has no closure and never converges", i, e.Gated, e.Gates)
		}
	}
	releasable := ReleasableChannels(l.f)
	for i, e := range l.f.ChannelEdges {
		for _, name := range []string{e.Gated, e.Gates} {
			if !hasKey(l.f.Channels, name) {
				l.refuse("channelEdges[%d]: there is no channel %q", i, name)
			}
		}
		if hasKey(l.f.Channels, e.Gates) && !slices.Contains(releasable, e.Gates) {
			l.refuse("channelEdges[%d]: %s waits for %s, which has nothing to roll out and never ends", i, e.Gated, e.Gates)
		}
	}
}

func (l *linter) budgets() {
	for i, b := range ResolveBudgets(l.f) {
		at := fmt.Sprintf("disruptionBudgets[%d]", i)
		l.selector(at+".selector", b.Selector)
		switch {
		case b.MaxInFlight == nil && b.MaxInFlightPct == nil:
			l.refuse("%s: neither maxInFlight nor maxInFlightPct, so it bounds nothing", at)
		case b.MaxInFlight != nil && *b.MaxInFlight == 0:
			l.refuse("%s: maxInFlight is 0, so none of its %d hosts could ever move", at, len(b.Hosts))
		case b.MaxInFlightPct != nil && *b.MaxInFlightPct == 0:
			l.refuse("%s: maxInFlightPct is 0, so none of its %d hosts could ever move: write maxInFlight 1 for one at a time", at, len(b.Hosts))
		case len(b.Hosts) == 0 && !b.Selector.Empty():
			l.refuse("%s: its selector matches no host", at)
		}
	}
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func hasKey[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}
