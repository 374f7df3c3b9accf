package rollout

import "time"

// Settings are the planner's times. docs/design/07-control-plane.md.
type Settings struct {
	// HeartbeatInterval is how often a host is expected to be heard. A host silent for SilentIntervals of them gets no
	// dispatch.
	HeartbeatInterval time.Duration
	// OfflineAfter is how long a host must be silent until promotion skips it and budgets stop counting it.
	OfflineAfter time.Duration
	// EmptyStoreWarmUp is the warm-up on an empty or restored store. On any other it is SilentIntervals heartbeats.
	EmptyStoreWarmUp time.Duration
	// Retention is how long a rollout that is over, and not the channel's newest, is kept.
	Retention time.Duration
}

// SilentIntervals is how many heartbeats a host may miss: one for the network, one for its own restart.
const SilentIntervals = 3

// FreshnessSlack is the clock difference that the verification of signatures allows, in both directions.
const FreshnessSlack = time.Minute

// DefaultSettings are those of the design: a heartbeat a minute, a day until offline, ten minutes of warm-up on a
// store that knows nothing, a month of history.
func DefaultSettings() Settings {
	return Settings{
		HeartbeatInterval: time.Minute,
		OfflineAfter:      24 * time.Hour,
		EmptyStoreWarmUp:  10 * time.Minute,
		Retention:         30 * 24 * time.Hour,
	}
}

// silence is how long a host may be silent and still be dispatched.
func (s Settings) silence() time.Duration { return SilentIntervals * s.HeartbeatInterval }
