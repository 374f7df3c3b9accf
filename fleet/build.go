package fleet

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

// ResolveAll returns f with the resolved waves of every channel that has something to roll out, and with what is
// about to be signed as its time. f is not changed. Errors are of class [ErrWaves].
func ResolveAll(f *Fleet, signedAt time.Time) (*Fleet, error) {
	resolved := *f
	resolved.Waves = maps.Clone(f.Waves)
	for _, channel := range ReleasableChannels(f) {
		waves, err := ResolveWaves(f, channel)
		if err != nil {
			return nil, err
		}
		resolved.Waves[channel] = waves
	}
	resolved.Meta.SchemaVersion = SchemaVersion
	resolved.Meta.SignedAt = utc(signedAt)
	return &resolved, nil
}

// BuildManifest makes the manifest of a rollout: every host of the channel that has a closure and a wave, and every
// budget with the hosts it selects. fleetHash is the hex SHA-256 of the fleet's canonical bytes. The time is kept to
// the second. Errors are of class [ErrWaves]. docs/design/05-trust.md.
func BuildManifest(f *Fleet, id RolloutID, fleetHash string, signedAt time.Time) (*Manifest, error) {
	waves, err := ResolveWaves(f, id.Channel())
	if err != nil {
		return nil, err
	}
	policy, _ := f.Policy(id.Channel()) // there, or the waves would not have been resolved
	m := &Manifest{
		SchemaVersion:     SchemaVersion,
		DisplayName:       id.String(),
		Channel:           id.Channel(),
		ChannelRef:        id.Ref(),
		FleetResolvedHash: fleetHash,
		HealthGate:        policy.HealthGate,
		Meta:              Meta{SchemaVersion: SchemaVersion, SignedAt: utc(signedAt), CICommit: f.Meta.CICommit, SignatureAlgorithm: f.Meta.SignatureAlgorithm},
		id:                id,
	}
	for i, w := range waves {
		for _, name := range w.Hosts {
			h, known := f.Hosts[name]
			if !known || h.Channel != id.Channel() {
				return nil, fmt.Errorf("%w: wave %d of channel %q has the host %q, which is not on it", ErrWaves, i, id.Channel(), name)
			}
			if h.ClosureHash != "" {
				m.HostSet = append(m.HostSet, HostSetEntry{Hostname: name, WaveIndex: uint32(i), TargetClosure: h.ClosureHash})
			}
		}
	}
	slices.SortFunc(m.HostSet, func(a, b HostSetEntry) int { return cmp.Compare(a.Hostname, b.Hostname) })
	for i := 1; i < len(m.HostSet); i++ {
		if m.HostSet[i-1].Hostname == m.HostSet[i].Hostname {
			return nil, fmt.Errorf("%w: channel %q has the host %q in two waves", ErrWaves, id.Channel(), m.HostSet[i].Hostname)
		}
	}
	m.DisruptionBudgets = ResolveBudgets(f)
	return m, nil
}

// ResolveBudgets returns the budgets of f with the hosts each selects, sorted.
func ResolveBudgets(f *Fleet) []ManifestBudget {
	if len(f.DisruptionBudgets) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(f.Hosts))
	budgets := make([]ManifestBudget, len(f.DisruptionBudgets))
	for i, b := range f.DisruptionBudgets {
		m := b.Selector.prepared()
		selected := []string{}
		for _, name := range names {
			if m.matches(name, f.Hosts[name]) {
				selected = append(selected, name)
			}
		}
		budgets[i] = ManifestBudget{Selector: b.Selector, Hosts: selected, MaxInFlight: b.MaxInFlight, MaxInFlightPct: b.MaxInFlightPct}
	}
	return budgets
}

// BuildTickets makes the ticket of every host of a manifest, in its order, from the fleet the manifest was made from.
// Each is made when asked for: 100,000 of them need not be there at once.
func BuildTickets(f *Fleet, m *Manifest) (iter.Seq[*Ticket], error) {
	policy, ok := f.Policy(m.Channel)
	if !ok {
		return nil, fmt.Errorf("%w: channel %q has no policy", ErrWaves, m.Channel)
	}
	waves, err := ResolveWaves(f, m.Channel)
	if err != nil {
		return nil, err
	}
	for _, e := range m.HostSet {
		if int(e.WaveIndex) >= len(waves) {
			return nil, fmt.Errorf("%w: host %q is in wave %d of %d", ErrWaves, e.Hostname, e.WaveIndex, len(waves))
		}
	}
	freshness := uint64(f.Channels[m.Channel].Window() / time.Second)
	return func(yield func(*Ticket) bool) {
		for _, e := range m.HostSet {
			t := &Ticket{
				SchemaVersion: SchemaVersion,
				Hostname:      e.Hostname,
				RolloutID:     m.id,
				Channel:       m.Channel,
				Wave:          e.WaveIndex,
				TargetClosure: e.TargetClosure,
				SoakSeconds:   waves[e.WaveIndex].Soak(),
				Policy: TicketPolicy{
					OnHealthFailure:          policy.OnHealthFailure,
					SustainedFailureSeconds:  policy.SustainedFailureSeconds,
					ActivationTimeoutSeconds: policy.ActivationTimeoutSeconds,
					HealthGate:               policy.HealthGate,
				},
				FreshnessSeconds: freshness,
				FleetHash:        m.FleetResolvedHash,
				SignedAt:         m.Meta.SignedAt,
			}
			if !yield(t) {
				return
			}
		}
	}, nil
}
