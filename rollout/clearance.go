package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The classes of a refused clearance.
var (
	ErrNoRollout      = errors.New("rollout: no such rollout")
	ErrNothingToClear = errors.New("rollout: nothing to clear")
)

// Clear gives an operator's clearance: the hosts of the rollout that are failed or reverted now are cleared, and a
// wave with nobody left who could converge is waived. by and reason are for the log. What follows for the hosts is
// decided in the next pass; a quarantine stays. The classes of errors are ErrNoRollout, ErrNothingToClear and those
// of Step.
func (p *Planner) Clear(rollout, by, reason string, now time.Time) (StepRollout, error) {
	r := p.rollouts[rollout]
	if r == nil || r.rec.State == Unopened {
		return StepRollout{}, fmt.Errorf("%w: %q", ErrNoRollout, rollout)
	}
	p.advance(now)
	e := OperatorClearance{By: by, Reason: reason, At: now}
	for i := range r.slots {
		switch r.slots[i].stand.phase {
		case rollingBack, failed, reverted:
			e.Hosts = append(e.Hosts, p.hosts[r.slots[i].host].name)
		case idle, queued, written, activating, deferred, soaking, converged, cleared, superseded:
		}
	}
	slices.Sort(e.Hosts)
	e.WaiveWave = r.exhausted(r.rec.Wave)
	if len(e.Hosts) == 0 && !e.WaiveWave && !r.rec.State.Halted() {
		return StepRollout{}, fmt.Errorf("%w: no host of %s is failed or reverted, and its wave %d goes on by itself",
			ErrNothingToClear, rollout, r.rec.Wave)
	}
	next, effects, err := Step(r.rec, e, now)
	if err != nil {
		return StepRollout{}, fmt.Errorf("rollout: clearance of %s: %w", rollout, err)
	}
	p.setRollout(r, next)
	p.carryOut(effects)
	return StepRollout{Rollout: rollout, Event: e, Record: next, Effects: effects}, nil
}

// exhausted says whether nobody of the wave is left who could still converge, nobody did, and nobody is waited for
// who could: what is left is silent, gone, failed or cleared.
func (r *rolloutState) exhausted(wave uint32) bool {
	if int(wave) >= len(r.waves) || r.proven(wave) {
		return false
	}
	w := &r.waves[wave]
	for i := w.start; i < w.end; i++ {
		st := r.slots[i].stand
		switch st.phase {
		case rollingBack, failed, reverted, cleared, superseded:
		case idle, queued, written, activating, deferred, soaking, converged:
			if !st.skip || st.phase == deferred {
				return false
			}
		}
	}
	return true
}
