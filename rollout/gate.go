package rollout

import (
	"fmt"
	"time"
)

// Gate says what a host is waiting at. The first nine are the gates of docs/design/07-control-plane.md in their
// order, the first that blocks wins; two more follow that hold whatever the rollout allows; the rest say what a host
// that passed them all is waiting for.
type Gate uint8

// The gates, in order.
const (
	Open Gate = iota // nothing is in the way

	WarmUp           // the control plane was just started and does not know the fleet yet
	Held             // the host itself is held: two live machines, a fork, a divergence
	Quarantine       // its target failed somewhere on the channel
	Halted           // a host of the rollout failed, or the rollout is over
	ChannelEdgeGate  // another channel goes first
	WavePromotion    // its wave is not released
	HostEdge         // another host goes first
	DisruptionBudget // as many hosts are in flight as may be
	ComplianceWave   // enforce probes fail on hosts of earlier waves
	StaleSignature   // the signed documents are too old to act on
	Silent           // no heartbeat for three intervals

	NoRollout    // its channel has no rollout, or the rollout does not list it
	AwaitingHost // dispatched, the host has not acknowledged yet
	Refused      // the host refuses its dispatch and says why
	Switching    // the switch is running
	Reboot       // set for boot, completes on reboot
	SoakTime     // switched; probes run; soak not over
	RollingBack  // failed, on its way back
	NewRef       // failed, reverted or cleared: only another release moves it
)

var gateNames = [...]string{
	"open", "warm-up", "held", "quarantine", "halted", "channel-edge", "wave-promotion", "host-edge", "disruption-budget",
	"compliance-wave", "stale-signature", "silent", "no-rollout", "awaiting-host", "refused", "activating", "reboot", "soak",
	"rolling-back", "new-ref",
}

// Gates lists every gate in order, for tests and for views.
func Gates() []Gate {
	all := make([]Gate, len(gateNames))
	for i := range all {
		all[i] = Gate(i)
	}
	return all
}

func (g Gate) String() string {
	if int(g) < len(gateNames) {
		return gateNames[g]
	}
	return fmt.Sprintf("Gate(%d)", uint8(g))
}

// Owner says who does the next step.
type Owner uint8

// The owners.
const (
	ControlPlane Owner = iota // it goes on by itself
	Agent                     // the host's agent does
	Operator                  // a human with an operator certificate
	Release                   // whoever signs releases
)

var ownerNames = [...]string{"control-plane", "agent", "operator", "release"}

func (o Owner) String() string {
	if int(o) < len(ownerNames) {
		return ownerNames[o]
	}
	return fmt.Sprintf("Owner(%d)", uint8(o))
}

// Fact is one thing that was looked at.
type Fact struct{ Name, Value string }

// Reason is why a host does not advance: one gate, the facts it looked at, who owns the next step, what would
// unblock it and the earliest time that can be. Only the planner makes reasons. Reasons are never written again, and
// one may stand for many hosts.
type Reason struct {
	Gate     Gate
	Text     string // one sentence for people
	Facts    []Fact
	Owner    Owner
	Unblocks string    // what has to happen, for people
	Earliest time.Time // zero: no time is known
	// StaleAt is when the signature of the documents behind the rollout becomes too old to act on; zero if there is
	// no rollout or no limit. It may lie in the past.
	StaleAt time.Time
}
