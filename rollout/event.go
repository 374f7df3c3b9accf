package rollout

import "time"

// Event is a fact that happened to one rollout.
//
//sumtype:decl
type Event interface{ isEvent() }

// RolloutOpened: the channel's newest signed manifest is going out.
type RolloutOpened struct {
	ID      string
	Channel string
	Waves   uint32 // at least 1
	At      time.Time
}

// HostJoined: a host accepted its dispatch.
type HostJoined struct {
	Host string
	At   time.Time
}

// WaveDone: every host of the current wave is done or skipped, and there are more waves.
type WaveDone struct {
	Wave uint32
	At   time.Time
}

// WaveAdvanced: the next wave is released.
type WaveAdvanced struct {
	To uint32
	At time.Time
}

// AllConverged: every host of every wave converged, the skipped ones excepted.
type AllConverged struct{ At time.Time }

// HostReverted: a host went back to what it ran before.
type HostReverted struct {
	Host string
	At   time.Time
}

// HostFailed: a host failed and owes no rollback.
type HostFailed struct {
	Host string
	At   time.Time
}

// OperatorClearance: an operator has looked at the failed hosts and lets the others go on. Planner.Clearance makes
// one from today's facts.
type OperatorClearance struct {
	Hosts []string // those that are failed or reverted now, in order of name: they are cleared
	// WaiveWave lets the current wave pass although no host of it converged. Set when, with Hosts cleared, the wave
	// has nobody left who could.
	WaiveWave bool
	By        string
	Reason    string
	At        time.Time
}

// SuccessorOpened: the channel has a newer rollout.
type SuccessorOpened struct {
	Successor string
	At        time.Time
}

// RetentionExpired: the rollout was kept long enough.
type RetentionExpired struct{ At time.Time }

func (RolloutOpened) isEvent()     {}
func (HostJoined) isEvent()        {}
func (WaveDone) isEvent()          {}
func (WaveAdvanced) isEvent()      {}
func (AllConverged) isEvent()      {}
func (HostReverted) isEvent()      {}
func (HostFailed) isEvent()        {}
func (OperatorClearance) isEvent() {}
func (SuccessorOpened) isEvent()   {}
func (RetentionExpired) isEvent()  {}

// AllEvents holds one value of every event type; a test compares it with the types that carry the marker.
var AllEvents = []Event{
	RolloutOpened{},
	HostJoined{},
	WaveDone{},
	WaveAdvanced{},
	AllConverged{},
	HostReverted{},
	HostFailed{},
	OperatorClearance{},
	SuccessorOpened{},
	RetentionExpired{},
}
