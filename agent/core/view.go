package core

import (
	"maps"
	"slices"
	"time"

	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/wire"
)

// Intent is the switch that is owed: one at most, the same until its event is there.
type Intent struct {
	RolloutID string
	Rollback  bool
	Closure   string // what the host shall run
	Prior     string // what it may be seen running until then, "" unknown
	Attempt   uint32 // counted in the journal
	Timeout   time.Duration
}

// Probing says for which rollout probes run, and what is known of them already.
type Probing struct {
	RolloutID string
	Known     []*host.Probe
	Soaking   bool       // results are events; otherwise they are for the heartbeat only
	Switched  time.Time  // when the host was switched: another time means that everything starts afresh
	Gate      []byte     // the policy's health gate, raw JSON, nil for none
	State     host.State // Soaking or Converged
}

// Account is the outbound accounting of one rollout.
type Account struct {
	Last  uint64 // the last number given out
	Acked uint64 // the highest confirmed
	Done  uint64 // up to here nothing is owed
}

// View is what workers, heartbeat and metrics see of a core. It is never written after it was made.
type View struct {
	RolloutID string // the rollout something may still happen in, "" none
	Newest    string // the rollout accepted last, "" none
	MayAccept bool   // no switch is running or owed: dispatches are asked for
	Adopts    bool   // snapshots are wanted
	Intent    *Intent
	Probing   *Probing
	Pins      []string // closures a rollback may need
	Outbound  map[string]Account
	Cursor    Place
	Records   []wire.RecordMessage // asked for by the control plane; unsigned, without time
	Epoch     string
	Depth     uint64 // events owed to the control plane
	Refused   uint64 // dead letters kept
	Reverted  []wire.RevertedClosure
	Probes    map[string]host.Status
	Drifted   string
	States    map[string]host.State
	// NextIn, where HasNext is set, is how long after At time alone may change something; 0: at once.
	NextIn  time.Duration
	HasNext bool
	At      clock.Reading
}

// Knows says whether the host has a record of the rollout, in any state.
func (v *View) Knows(rolloutID string) bool {
	_, ok := v.States[rolloutID]
	return ok
}

func (s *state) view(hostname string) *View {
	v := &View{
		MayAccept: true, Adopts: s.adopts, Epoch: s.epoch, Drifted: s.drifted, Cursor: s.cursor,
		Outbound: make(map[string]Account, len(s.order)), States: make(map[string]host.State, len(s.order)),
		Probes: map[string]host.Status{},
	}
	v.NextIn, v.HasNext = s.nextIn()
	v.At = s.last
	for _, id := range s.order {
		s.rollouts[id].show(v, hostname, s.epoch)
	}
	for _, id := range s.absent {
		v.Records = append(v.Records, wire.RecordMessage{Hostname: hostname, RolloutID: id, Epoch: s.epoch})
	}
	if id, r := s.active(); r != nil {
		v.Newest = id
		for _, p := range r.rec.Probes {
			v.Probes[p.Name] = p.Status
		}
		v.Probing = r.probing()
	}
	return v
}

// show adds what one rollout has to say.
func (r *rollout) show(v *View, hostname, epoch string) {
	id, rec := r.rec.RolloutID, &r.rec
	v.States[id] = rec.State
	v.Outbound[id] = Account{Last: rec.LastEventSeq, Acked: r.acked, Done: r.done}
	v.Depth += rec.LastEventSeq - min(r.done, rec.LastEventSeq)
	v.Refused += uint64(len(r.dead))
	if r.owed {
		v.Records = append(v.Records, wire.RecordMessage{Hostname: hostname, RolloutID: id, Record: rec, Epoch: epoch})
	}
	if rec.State == host.Reverted || (rec.State == host.Failed && rec.RollbackAttempts >= host.MaxRollbackAttempts) {
		v.Reverted = append(v.Reverted, wire.RevertedClosure{Channel: rec.Channel, Closure: rec.TargetClosure})
	}
	if !r.live() {
		return
	}
	v.RolloutID = id
	if rec.CurrentClosureAtDispatch != "" {
		v.Pins = append(v.Pins, rec.CurrentClosureAtDispatch)
	}
	if r.switching() {
		v.MayAccept = false
		if r.fires > r.settled {
			v.Intent = r.intent()
		}
	}
}

func (r *rollout) intent() *Intent {
	in := &Intent{RolloutID: r.rec.RolloutID, Attempt: r.fires, Timeout: r.policy.ActivationTimeout(), Closure: r.rec.TargetClosure, Prior: r.rec.CurrentClosureAtDispatch}
	if in.Timeout <= 0 {
		in.Timeout = host.DefaultActivationTimeoutSeconds * time.Second
	}
	if r.rec.State == host.Failed {
		// Whatever the failed switch left running may be seen until the host is back.
		in.Rollback, in.Closure, in.Prior = true, r.rec.CurrentClosureAtDispatch, ""
	}
	return in
}

func (r *rollout) probing() *Probing {
	if r.rec.SupersededBy != "" || (r.rec.State != host.Soaking && r.rec.State != host.Converged) {
		return nil
	}
	return &Probing{
		RolloutID: r.rec.RolloutID, Known: r.rec.Probes, Soaking: r.rec.State == host.Soaking,
		Switched: r.rec.ActivationCompletedAt, Gate: r.policy.HealthGate, State: r.rec.State,
	}
}

// Records gives a copy of every record, for tests, replay and the simulator.
func (c *Core) Records() map[string]host.Record {
	out := make(map[string]host.Record, len(c.st.rollouts))
	for id, r := range maps.All(c.st.rollouts) {
		out[id] = r.rec
	}
	return out
}

// Order gives the rollout ids in the order they were accepted.
func (c *Core) Order() []string { return slices.Clone(c.st.order) }

// Policy gives the captured policy of a rollout.
func (c *Core) Policy(rolloutID string) (host.Policy, bool) {
	r := c.st.rollouts[rolloutID]
	if r == nil {
		return host.Policy{}, false
	}
	return r.policy, true
}
