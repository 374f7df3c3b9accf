package fleet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrWaves is the class of waves that cannot be resolved.
var ErrWaves = errors.New("fleet: waves")

// ResolveWaves says which hosts of a channel go together, in order: a host goes to the first wave of the channel's
// policy whose selector matches it, hosts in a wave are sorted, and a host that no wave selects is in none ([Lint]
// refuses that). Waves may be empty here. A policy without waves leaves it to the document's own resolved waves; where
// both are there they must agree. Errors are of class [ErrWaves]. docs/design/05-trust.md.
func ResolveWaves(f *Fleet, channel string) ([]Wave, error) {
	c, ok := f.Channels[channel]
	if !ok {
		return nil, fmt.Errorf("%w: there is no channel %q", ErrWaves, channel)
	}
	policy, ok := f.RolloutPolicies[c.RolloutPolicy]
	if !ok {
		return nil, fmt.Errorf("%w: channel %q has the policy %q, which is not there", ErrWaves, channel, c.RolloutPolicy)
	}
	written, isWritten := f.Waves[channel]
	if len(policy.Waves) == 0 {
		return sortedWaves(written), nil
	}
	waves := selectWaves(f, channel, policy)
	if isWritten {
		if err := agree(waves, sortedWaves(written)); err != nil {
			return nil, fmt.Errorf("%w: waves.%s is not what policy %q selects: %w; leave it out to have it resolved", ErrWaves, channel, c.RolloutPolicy, err)
		}
	}
	return waves, nil
}

func selectWaves(f *Fleet, channel string, policy RolloutPolicy) []Wave {
	waves := make([]Wave, len(policy.Waves))
	matchers := make([]matcher, len(policy.Waves))
	for i, w := range policy.Waves {
		waves[i] = Wave{Hosts: []string{}, SoakMinutes: w.SoakMinutes, SoakSeconds: w.SoakSeconds}
		matchers[i] = w.Selector.prepared()
	}
	for _, name := range hostsOn(f, channel) {
		h := f.Hosts[name]
		if i := slices.IndexFunc(matchers, func(m matcher) bool { return m.matches(name, h) }); i >= 0 {
			waves[i].Hosts = append(waves[i].Hosts, name)
		}
	}
	return waves
}

// hostsOn returns the names of the hosts of a channel, sorted.
func hostsOn(f *Fleet, channel string) []string {
	var names []string
	for name, h := range f.Hosts {
		if h.Channel == channel {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sortedWaves copies waves with their hosts sorted, as the order they are written in means nothing.
func sortedWaves(waves []Wave) []Wave {
	out := slices.Clone(waves)
	for i := range out {
		out[i].Hosts = slices.Sorted(slices.Values(out[i].Hosts))
	}
	return out
}

func agree(resolved, written []Wave) error {
	if len(resolved) != len(written) {
		return fmt.Errorf("%d waves selected, %d written", len(resolved), len(written))
	}
	for i := range resolved {
		if resolved[i].Soak() != written[i].Soak() {
			return fmt.Errorf("wave %d soaks %d s in the policy, %d s as written", i, resolved[i].Soak(), written[i].Soak())
		}
		if !slices.Equal(resolved[i].Hosts, written[i].Hosts) {
			return fmt.Errorf("wave %d selects [%s], [%s] is written", i, listed(resolved[i].Hosts), listed(written[i].Hosts))
		}
	}
	return nil
}

// listed joins names for a message and stops before the message becomes a page.
func listed(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// ReleasableChannels returns the channels that have a host with a closure to run, sorted: the others have nothing to
// roll out.
func ReleasableChannels(f *Fleet) []string {
	found := map[string]struct{}{}
	for _, h := range f.Hosts {
		if h.ClosureHash != "" {
			found[h.Channel] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
