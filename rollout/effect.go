package rollout

import "time"

// Effect describes what follows from a rollout's event, as data.
//
//sumtype:decl
type Effect interface{ isEffect() }

// RolloutTransition reports a change of state. Exactly one per change.
type RolloutTransition struct {
	ID       string
	From, To State
	At       time.Time
}

// MarkCleared marks hosts of the rollout as cleared: promotion and Terminal skip them, they take no budget, do not
// halt a second time, and wait for a new ref.
type MarkCleared struct {
	ID    string
	Hosts []string
}

// WithdrawQueued takes back every dispatch of the rollout that was not written to a response yet.
type WithdrawQueued struct{ ID string }

// ForgetRollout drops the rollout from the views. Its log rows stay.
type ForgetRollout struct{ ID string }

func (RolloutTransition) isEffect() {}
func (MarkCleared) isEffect()       {}
func (WithdrawQueued) isEffect()    {}
func (ForgetRollout) isEffect()     {}

// AllEffects holds one value of every effect type; a test compares it with the types that carry the marker.
var AllEffects = []Effect{RolloutTransition{}, MarkCleared{}, WithdrawQueued{}, ForgetRollout{}}
