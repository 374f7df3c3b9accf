package fleet

import (
	"encoding/hex"
	"strings"

	"nixfleet/strictjson"
)

// HashLength is the length of a SHA-256 in lower-case hex, as every document writes one.
const HashLength = 64

// Manifest is the signed document of one rollout: which host goes where in which wave. docs/design/05-trust.md.
type Manifest struct {
	SchemaVersion     uint64
	DisplayName       string
	Channel           string
	ChannelRef        string
	FleetResolvedHash string         // hex SHA-256 of the fleet's canonical bytes
	HostSet           []HostSetEntry // sorted by hostname, each once
	HealthGate        []byte         // raw JSON, nil if there is none
	DisruptionBudgets []ManifestBudget
	Meta              Meta

	id RolloutID
}

// HostSetEntry is one host of a rollout.
type HostSetEntry struct {
	Hostname      string
	WaveIndex     uint32
	TargetClosure string
}

// ManifestBudget is a budget with the hosts it selects, those of other channels included.
type ManifestBudget struct {
	Selector       Selector
	Hosts          []string // sorted
	MaxInFlight    *uint32
	MaxInFlightPct *uint32
}

// Limit is that of [Budget.Limit] over the budget's hosts.
func (b ManifestBudget) Limit() int {
	return inFlightLimit(b.MaxInFlight, b.MaxInFlightPct, len(b.Hosts))
}

// ID returns the rollout's id, from channel and ref.
func (m *Manifest) ID() RolloutID { return m.id }

// Find returns the entry of a host and whether the rollout has it.
func (m *Manifest) Find(hostname string) (HostSetEntry, bool) {
	lo, hi := 0, len(m.HostSet)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if m.HostSet[mid].Hostname < hostname {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(m.HostSet) && m.HostSet[lo].Hostname == hostname {
		return m.HostSet[lo], true
	}
	return HostSetEntry{}, false
}

// ParseManifest reads a manifest of at most 32 MiB, as [ParseFleet] reads a fleet. A hostSet that is not sorted, or
// has a host twice, and channel and ref that make no rollout id are refused.
func ParseManifest(data []byte) (*Manifest, error) {
	o, err := document(data)
	if err != nil {
		return nil, err
	}
	m := &Manifest{
		SchemaVersion:     o.Uint64("schemaVersion"),
		DisplayName:       optText(o, "displayName", MaxReason),
		Channel:           text(o, "channel", MaxName),
		ChannelRef:        text(o, "channelRef", MaxRolloutID),
		FleetResolvedHash: hash(o, "fleetResolvedHash"),
		HealthGate:        optRaw(o, "healthGate"),
		Meta:              parseMeta(o),
	}
	m.id = rolloutID(o, "channelRef", m.Channel, m.ChannelRef)
	m.HostSet = parseHostSet(o)
	for _, b := range objects(o, "disruptionBudgets", MaxBudgets) {
		m.DisruptionBudgets = append(m.DisruptionBudgets, ManifestBudget{
			Selector:       parseSelector(b, "selector"),
			Hosts:          hostnames(b, "hosts", false),
			MaxInFlight:    optUint32(b, "maxInFlight", MaxHosts),
			MaxInFlightPct: optUint32(b, "maxInFlightPct", 100),
		})
	}
	if err := finish("manifest", o); err != nil {
		return nil, err
	}
	return m, nil
}

func parseHostSet(o *strictjson.Object) []HostSetEntry {
	list := o.Objects("hostSet")
	if len(list) > MaxHosts {
		o.Fail("hostSet", "%d hosts, at most %d allowed", len(list), MaxHosts)
	}
	set := make([]HostSetEntry, 0, len(list))
	for i, e := range list {
		entry := HostSetEntry{
			Hostname:      hostname(e, "hostname"),
			WaveIndex:     e.Uint32("waveIndex"),
			TargetClosure: closure(e, "targetClosure"),
		}
		if entry.WaveIndex >= MaxWaves {
			e.Fail("waveIndex", "%d, want less than %d", entry.WaveIndex, MaxWaves)
		}
		if i > 0 && set[i-1].Hostname >= entry.Hostname {
			e.Fail("hostname", "%q behind %q, want them sorted and each once", entry.Hostname, set[i-1].Hostname)
		}
		set = append(set, entry)
	}
	return set
}

// hash reads a required SHA-256 in lower-case hex.
func hash(o *strictjson.Object, key string) string {
	s := o.String(key)
	if _, err := hex.DecodeString(s); err != nil || len(s) != HashLength || strings.ToLower(s) != s {
		o.Fail(key, "want a SHA-256 as %d lower-case hex digits", HashLength)
	}
	return s
}

// rolloutID builds the id of a parsed document.
func rolloutID(o *strictjson.Object, key, channel, ref string) RolloutID {
	if o.Err() != nil {
		return RolloutID{}
	}
	id, err := NewRolloutID(channel, ref)
	if err != nil {
		o.Fail(key, "%v", err)
	}
	return id
}
