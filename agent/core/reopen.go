package core

import (
	"bytes"
	"fmt"
	"slices"

	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/wire"
)

// Reopening rebuilds a core from a journal: the newest snapshot, then every frame behind it, then Core. A replay
// gives it a whole journal instead, snapshots included, and watches.
type Reopening struct {
	// Watch, if set, is told of every step in order.
	Watch func(Step)

	opt     Options
	st      *state
	began   bool
	differs int
	holes   map[string]bool // rollouts of which events are missing: dropped where space ran out
}

// Step is one recorded event with what Step, run again, makes of it.
type Step struct {
	Now       clock.Reading
	RolloutID string
	Seq       uint64
	Event     host.Event
	From, To  host.State // as recorded
	Effects   []host.Effect
	Refusal   error // Step would refuse it
	// Differs: Step comes to another record than was recorded, and no missing event explains it.
	Differs bool
	Record  host.Record // as recorded
}

// Reopen begins with a snapshot's payload, nil for none.
func Reopen(opt Options, snapshot []byte) (*Reopening, error) {
	r := &Reopening{opt: opt, st: newState(), holes: map[string]bool{}}
	if snapshot == nil {
		return r, nil
	}
	_, err := r.Snapshot(snapshot)
	return r, err
}

// Snapshot takes everything from a snapshot. It returns the rollouts whose records, as rebuilt so far, are not the
// recorded ones to the last bit; none if nothing was rebuilt yet or events of the rollout are missing.
func (r *Reopening) Snapshot(payload []byte) (differ []string, err error) {
	st, err := readSnapshot(payload)
	if err != nil {
		return nil, err
	}
	for _, id := range st.order {
		was, is := r.st.rollouts[id], st.rollouts[id]
		switch {
		case !r.began || r.holes[id]:
		case was == nil:
			differ = append(differ, id)
		case is.rec.LastEventSeq > was.rec.LastEventSeq: // what was coalesced at the end of a segment
		case !bytes.Equal(wire.AppendRecord(nil, &was.rec), wire.AppendRecord(nil, &is.rec)):
			differ = append(differ, id)
		}
	}
	r.st, r.began = st, true
	clear(r.holes)
	r.differs += len(differ)
	return differ, nil
}

// Restart forgets what was rebuilt: part of the journal is missing, and a snapshot follows.
func (r *Reopening) Restart() { r.st, r.began = newState(), false }

// Frame applies one commit, in the order of the journal. After an error nothing of it holds, and the frames that
// follow may be tried.
func (r *Reopening) Frame(payload []byte) error {
	f, err := readFrame(payload)
	if err != nil {
		return err
	}
	st := r.st.copied()
	if f.now.BootID == "" {
		f.now.BootID = st.boot
	}
	if f.code != "" {
		st.code = f.code
	}
	st.boot = f.now.BootID
	st.age(f.now)
	var steps []Step
	for _, o := range f.facts {
		fact, err := readFact(o, st)
		if err != nil {
			return err
		}
		if s, ok := fact.(Stepped); ok {
			steps = append(steps, r.again(st.rollouts[s.RolloutID], &s, f.now))
		}
		if err := st.apply(fact, f.now); err != nil {
			return fmt.Errorf("%w: %w", ErrFrame, err)
		}
	}
	r.st, r.began = st, true
	for _, s := range steps {
		if s.Differs {
			r.differs++
		}
		if r.Watch != nil {
			r.Watch(s)
		}
	}
	return nil
}

// again runs Step over a recorded event.
func (r *Reopening) again(before *rollout, f *Stepped, now clock.Reading) Step {
	next, effects, err := host.Step(before.rec, host.Stamped{Origin: host.Local, Seq: f.Seq, Event: f.Event}, now.Wall, before.policy)
	s := Step{
		Now: now, RolloutID: f.RolloutID, Seq: f.Seq, Event: f.Event, From: before.rec.State, To: f.Record.State,
		Effects: slices.Clone(effects.All()), Refusal: err, Record: f.Record,
	}
	if f.Seq != before.nextSeq() {
		r.holes[f.RolloutID] = true
	}
	same := err == nil && bytes.Equal(wire.AppendRecord(nil, &next), wire.AppendRecord(nil, &f.Record))
	s.Differs = !same && !r.holes[f.RolloutID]
	return s
}

// Core gives what was there when the journal ended. damaged says that something of it was lost; then, and if there
// is no rollout, snapshots may be adopted. differs counts steps that this program would have decided otherwise: the
// recorded facts hold.
func (r *Reopening) Core(damaged bool) (c *Core, differs int) {
	c = &Core{hostname: r.opt.Hostname, code: r.opt.Code, st: r.st}
	if r.st.epoch == "" || damaged {
		// A journal that lost something may give numbers out twice; a new epoch says that this is another history.
		r.st.epoch = r.opt.Epoch
	}
	r.st.adopts = damaged || len(r.st.rollouts) == 0
	c.view = c.st.view(c.hostname)
	return c, r.differs
}
