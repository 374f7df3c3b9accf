package rollout

import (
	"fmt"
	"time"
)

// State is where a rollout stands.
type State uint8

// The states of a rollout. The zero value is a rollout that was never opened.
const (
	Unopened   State = iota
	Opening          // opened, no host has accepted its dispatch yet
	Active           // hosts of the current wave are going
	Converging       // every host of the current wave is done, the next wave is not released yet
	Terminal         // every host of every wave converged; nothing is left to do
	Reverted         // halted: a host went back
	Failed           // halted: a host failed and owes no rollback
	Superseded       // the channel has a newer rollout
	Pruned           // forgotten
)

// States lists every state in order, for tests and for views.
var States = [...]State{Unopened, Opening, Active, Converging, Terminal, Reverted, Failed, Superseded, Pruned}

var stateNames = [...]string{"Unopened", "Opening", "Active", "Converging", "Terminal", "Reverted", "Failed", "Superseded", "Pruned"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// ParseState returns the state with that name; the error lists what is allowed.
func ParseState(name string) (State, error) {
	for i, n := range stateNames {
		if n == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("rollout: unknown state %q, want one of %v", name, stateNames)
}

// Halted says whether a human has to give a clearance before further hosts go.
func (s State) Halted() bool { return s == Reverted || s == Failed }

// Running says whether the rollout may still move by itself.
func (s State) Running() bool { return s == Opening || s == Active || s == Converging }

// Record is one rollout: one channel ref going out. Records are values; Step never writes through its argument.
type Record struct {
	ID      string // the rollout id, channel@ref
	Channel string
	State   State
	// Wave is the current wave: hosts of this wave and of earlier ones may go. Waves is how many there are.
	Wave, Waves uint32
	// WaivedWaves counts the waves, from the first on, that a clearance lets pass without a single converged host.
	WaivedWaves uint32

	OpenedAt     time.Time
	ChangedAt    time.Time // of the last change of State or Wave: what waiting and retention count from
	HaltedBy     string    // the host whose failure halted it last; "" never halted
	SupersededBy string    // the channel's next rollout
}
