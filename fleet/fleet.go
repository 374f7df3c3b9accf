package fleet

import (
	"time"

	"nixfleet/host"
)

// SchemaVersion is the only version of any signed document that this package knows the sense of.
const SchemaVersion = 1

// Bounds on the number of things in a document. Each is far beyond what was ever asked for and small enough that a
// document cannot make a reader do unbounded work per entry.
const (
	MaxHosts    = 1 << 20 // ten times the largest fleet we measure
	MaxChannels = 1024    // channels are written by hand
	MaxPolicies = 1024    // so are policies
	MaxWaves    = 1024    // waves of one channel: each takes at least a soak, so more never end
	MaxEdges    = 1 << 16 // host edges may be generated, one per pair of hosts in a cluster
	MaxBudgets  = 4096    // every budget is looked at for every dispatch
	MaxTags     = 256     // tags of one host, or of one selector
	MaxName     = 128     // bytes of a tag, a channel, a policy or a strategy
	MaxReason   = 1024    // bytes of a reason written for people
)

// Fleet is what fleet.resolved.json says. Maps are read only. docs/design/05-trust.md.
type Fleet struct {
	SchemaVersion     uint64
	Hosts             map[string]Host
	Channels          map[string]Channel
	RolloutPolicies   map[string]RolloutPolicy
	Waves             map[string][]Wave // by channel, resolved
	Edges             []Edge
	ChannelEdges      []ChannelEdge
	DisruptionBudgets []Budget
	// ChannelRefs says which ref of each channel is its newest, so that no one but the signer does. nil in a document
	// that does not say: then it is meta.ciCommit for all of them. See Newest.
	ChannelRefs map[string]string
	Meta        Meta
}

// Host is one machine of the fleet.
type Host struct {
	System      string   // "x86_64-linux"; shown, not acted on
	Tags        []string // what selectors look at
	Channel     string
	ClosureHash string // the closure it should run, "" if it has none yet
	Pubkey      string // its SSH host key as an OpenSSH line, "" if not known; see ParsePubkey
	Pin         *Pin
}

// Pin says that a host is kept at a commit. It is shown and not acted on.
type Pin struct {
	Commit, Reason string
	ExpiresAt      time.Time // zero: never
}

// Channel is a named line of releases.
type Channel struct {
	RolloutPolicy            string
	ReconcileIntervalMinutes uint64
	// FreshnessWindow is how many minutes after it was signed a document of this channel may still be acted on.
	FreshnessWindow        uint64
	SigningIntervalMinutes uint64
	Compliance             []byte // raw JSON, nil if there is none; carried, not interpreted
}

// Window returns FreshnessWindow as a duration.
func (c Channel) Window() time.Duration { return time.Duration(c.FreshnessWindow) * time.Minute }

// RolloutPolicy says how a channel goes out.
type RolloutPolicy struct {
	Strategy                 string // for people; the waves say what happens
	Waves                    []PolicyWave
	HealthGate               []byte // raw JSON, nil if there is none; carried, not interpreted
	OnHealthFailure          host.OnFailure
	SustainedFailureSeconds  uint64
	ActivationTimeoutSeconds uint64
}

// PolicyWave is one wave before its hosts are known.
type PolicyWave struct {
	Selector    Selector
	SoakMinutes uint64
	SoakSeconds *uint64 // overrides SoakMinutes
}

// Soak returns how long a host of the wave must stay healthy, in seconds.
func (w PolicyWave) Soak() uint64 { return soak(w.SoakMinutes, w.SoakSeconds) }

// Wave is one resolved wave: these hosts go together.
type Wave struct {
	Hosts       []string // sorted when resolved here; in written order when read
	SoakMinutes uint64
	SoakSeconds *uint64 // overrides SoakMinutes
}

// Soak returns how long a host of the wave must stay healthy, in seconds.
func (w Wave) Soak() uint64 { return soak(w.SoakMinutes, w.SoakSeconds) }

func soak(minutes uint64, seconds *uint64) uint64 {
	if seconds != nil {
		return *seconds
	}
	return minutes * 60
}

// Edge makes one host wait for another: Gated is not dispatched before Gates is Converged.
type Edge struct{ Gated, Gates, Reason string }

// ChannelEdge makes one channel wait for another: Gated opens no rollout before that of Gates is Terminal.
type ChannelEdge struct{ Gates, Gated, Reason string }

// Budget bounds how many of the hosts it selects are in flight at once, across rollouts. With both bounds the smaller
// counts.
type Budget struct {
	Selector       Selector
	MaxInFlight    *uint32
	MaxInFlightPct *uint32 // 0 to 100, of the hosts selected
}

// Limit returns how many of n selected hosts may be in flight: a percentage is rounded down, but to no less than 1.
func (b Budget) Limit(n int) int { return inFlightLimit(b.MaxInFlight, b.MaxInFlightPct, n) }

func inFlightLimit(most, pct *uint32, n int) int {
	limit := n
	if pct != nil {
		limit = max(1, n*int(*pct)/100)
	}
	if most != nil {
		limit = min(limit, int(*most))
	}
	return limit
}

// Meta is what a document says about its making.
type Meta struct {
	SchemaVersion      uint64    // 0: not said
	SignedAt           time.Time // zero: not signed
	CICommit           string
	SignatureAlgorithm string // for people; the key decides
}

// Policy returns the rollout policy of a channel and whether both are there.
func (f *Fleet) Policy(channel string) (RolloutPolicy, bool) {
	c, ok := f.Channels[channel]
	if !ok {
		return RolloutPolicy{}, false
	}
	p, ok := f.RolloutPolicies[c.RolloutPolicy]
	return p, ok
}

// Newest returns the id of a channel's newest rollout, and false if the channel has none.
func (f *Fleet) Newest(channel string) (RolloutID, bool) {
	ref, ok := f.ChannelRefs[channel]
	if f.ChannelRefs == nil && hasKey(f.Channels, channel) {
		ref, ok = f.Meta.CICommit, f.Meta.CICommit != ""
	}
	if !ok {
		return RolloutID{}, false
	}
	id, err := NewRolloutID(channel, ref)
	return id, err == nil
}

// WidestWindow returns the longest freshness window of any channel: beyond it nothing in the document may be acted on.
func (f *Fleet) WidestWindow() time.Duration {
	var widest time.Duration
	for _, c := range f.Channels {
		widest = max(widest, c.Window())
	}
	return widest
}
