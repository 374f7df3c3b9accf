package rollout

import "time"

// Action is one decision of a pass, as data. The planner already counts it: the caller stores all actions of a pass
// in one transaction and then carries them out, or takes the pass back with Rollback.
//
//sumtype:decl
type Action interface{ isAction() }

// OpenRollout: the channel's newest manifest is a rollout from now on.
type OpenRollout struct {
	Event  RolloutOpened
	Record Record
}

// StepRollout: something happened to a rollout. Record is the next one; Effects are for the log and the views, their
// part in the planner is done.
type StepRollout struct {
	Rollout string
	Event   Event
	Record  Record
	Effects []Effect
}

// AdvanceWave: the next wave is released.
type AdvanceWave struct {
	Rollout  string
	From, To uint32
	// Skipped names hosts of the wave left behind, in order of name: silent beyond offlineAfter, cleared, or gone to
	// another channel.
	Skipped []string
	Record  Record
}

// QueueDispatch: it is this host's turn.
type QueueDispatch struct {
	Host          string
	Rollout       string
	Channel       string
	Wave          uint32
	TargetClosure string
	At            time.Time
}

// WithdrawDispatch: a dispatch that was queued is taken back. The host may be queued again later.
type WithdrawDispatch struct {
	Host    string
	Rollout string
	Reason  *Reason
}

// DeferDispatch: a host whose wave is released has to wait, at another gate than the last pass said. Told once per
// change, so the sequence for one host is its history of gates.
type DeferDispatch struct {
	Host    string
	Rollout string
	Reason  *Reason
}

func (OpenRollout) isAction()      {}
func (StepRollout) isAction()      {}
func (AdvanceWave) isAction()      {}
func (QueueDispatch) isAction()    {}
func (WithdrawDispatch) isAction() {}
func (DeferDispatch) isAction()    {}

// AllActions holds one value of every action type; a test compares it with the types that carry the marker.
var AllActions = []Action{
	OpenRollout{}, StepRollout{}, AdvanceWave{}, QueueDispatch{}, WithdrawDispatch{}, DeferDispatch{},
}
