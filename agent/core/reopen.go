package core

import (
	"fmt"
)

// Reopening rebuilds a core from a journal: the newest snapshot, then every frame behind it, then Core.
type Reopening struct {
	opt     Options
	st      *state
	differs int
}

// Reopen begins with a snapshot's payload, nil for none.
func Reopen(opt Options, snapshot []byte) (*Reopening, error) {
	r := &Reopening{opt: opt, st: newState()}
	if snapshot == nil {
		return r, nil
	}
	st, err := readSnapshot(snapshot)
	if err != nil {
		return nil, err
	}
	r.st = st
	return r, nil
}

// Frame applies one commit, in the order of the journal. After an error nothing of it holds, and the frames that
// follow may be tried.
func (r *Reopening) Frame(payload []byte) error {
	f, err := readFrame(payload)
	if err != nil {
		return err
	}
	st, differs := r.st.copied(), 0
	if f.now.BootID == "" {
		f.now.BootID = st.boot
	}
	if f.code != "" {
		st.code = f.code
	}
	st.boot = f.now.BootID
	st.age(f.now)
	for _, o := range f.facts {
		fact, err := readFact(o, st)
		if err != nil {
			return err
		}
		if s, ok := fact.(Stepped); ok {
			if b := st.rollouts[s.RolloutID]; !verifies(b.rec, b.policy, &s, f.now) {
				differs++
			}
		}
		if err := st.apply(fact, f.now); err != nil {
			return fmt.Errorf("%w: %w", ErrFrame, err)
		}
	}
	r.st, r.differs = st, r.differs+differs
	return nil
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
