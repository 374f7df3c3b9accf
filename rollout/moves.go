package rollout

import "slices"

// moveRollouts runs the machine of every rollout that something changed for, the newest of each channel first.
func (p *Planner) moveRollouts() {
	for _, newest := range []bool{true, false} { // what has a successor does nothing else any more
		for _, r := range p.inOrder() {
			if p.newest(r) != newest || !r.moved && r.rec.State != Unopened {
				continue
			}
			r.moved = false
			p.run(r)
		}
	}
}

// retire has rollouts pruned that were kept long enough.
func (p *Planner) retire() {
	for _, r := range p.inOrder() {
		if p.expired(r) {
			p.step(r, RetentionExpired{At: p.now})
		}
	}
}

// run steps the rollout until nothing is new. A refusal ends it, see Err.
func (p *Planner) run(r *rolloutState) {
	for e := p.nextEvent(r); e != nil && p.step(r, e); e = p.nextEvent(r) {
	}
}

// nextEvent says what happened to the rollout that its record does not know yet, nil if nothing. Every event moves
// the record on and waves only grow, so asking again and again ends.
func (p *Planner) nextEvent(r *rolloutState) Event {
	c := p.channels[r.channel]
	if c == nil || r.rec.State == Superseded || r.rec.State == Pruned {
		return nil
	}
	if c.newest != nil && c.newest != r && c.newest.rec.State != Unopened && r.rec.State != Unopened {
		return SuccessorOpened{Successor: c.newest.id, At: p.now}
	}
	switch r.rec.State {
	case Unopened:
		// One that is not the newest is opened when hosts report from it, to be superseded at once: the store was lost.
		late := c.newest != r && c.newest != nil && c.newest.rec.State != Unopened && int(r.count[idle]) < len(r.slots)
		if late || c.newest == r && r.listed > 0 && !p.stale(r, p.now) {
			return RolloutOpened{ID: r.id, Channel: r.channel, Waves: uint32(max(1, len(r.waves))), At: p.now}
		}
	case Opening:
		if e := p.halting(r); e != nil {
			return e
		}
		if h, ok := p.first(r, phase.joined); ok {
			return HostJoined{Host: h, At: p.now}
		}
	case Active:
		return p.nextOfActive(r)
	case Converging:
		return p.nextOfConverging(r)
	case Terminal, Reverted, Failed, Superseded, Pruned:
	}
	return nil
}

func (p *Planner) nextOfActive(r *rolloutState) Event {
	if e := p.halting(r); e != nil {
		return e
	}
	if p.allConverged(r) {
		return AllConverged{At: p.now}
	}
	if int(r.rec.Wave)+1 < len(r.waves) && r.open(r.rec.Wave) == 0 {
		return WaveDone{Wave: r.rec.Wave, At: p.now}
	}
	return nil
}

func (p *Planner) nextOfConverging(r *rolloutState) Event {
	if e := p.halting(r); e != nil {
		return e
	}
	if p.allConverged(r) {
		return AllConverged{At: p.now}
	}
	if int(r.rec.Wave)+1 < len(r.waves) && r.promotable(r.rec.Wave) {
		return WaveAdvanced{To: r.rec.Wave + 1, At: p.now}
	}
	if r.open(r.rec.Wave) > 0 { // a host that was skipped is back, and has accepted
		w := &r.waves[r.rec.Wave]
		for i := w.start; i < w.end; i++ {
			if st := r.slots[i].stand; st.phase.joined() && !st.phase.done() && !st.skip {
				return HostJoined{Host: p.hosts[r.slots[i].host].name, At: p.now}
			}
		}
	}
	return nil
}

// halting is the failure that stops the rollout, nil if there is none.
func (p *Planner) halting(r *rolloutState) Event {
	if r.count[reverted] > 0 {
		if h, ok := p.first(r, func(ph phase) bool { return ph == reverted }); ok {
			return HostReverted{Host: h, At: p.now}
		}
	}
	if r.count[failed] > 0 {
		if h, ok := p.first(r, func(ph phase) bool { return ph == failed }); ok {
			return HostFailed{Host: h, At: p.now}
		}
	}
	return nil
}

// first returns the first host of the rollout, in order, in such a phase. It looks at all of them if it must, which
// only a change of the rollout's state makes it do.
func (p *Planner) first(r *rolloutState, is func(phase) bool) (string, bool) {
	n := int32(0)
	for ph := range phase(phases) {
		if is(ph) {
			n += r.count[ph]
		}
	}
	if n == 0 {
		return "", false
	}
	for i := range r.slots {
		if is(r.slots[i].stand.phase) {
			return p.hosts[r.slots[i].host].name, true
		}
	}
	return "", false
}

// open is how many hosts of the wave promotion waits for.
func (r *rolloutState) open(wave uint32) int32 {
	w := &r.waves[wave]
	return int32(w.end-w.start) - w.count[converged] - w.count[deferred] - w.skippedOpen
}

// proven says whether the wave has shown something: a host converged, or a clearance does without.
func (r *rolloutState) proven(wave uint32) bool {
	w := &r.waves[wave]
	return w.count[converged] > 0 || wave < r.rec.WaivedWaves || w.start == w.end
}

func (r *rolloutState) promotable(wave uint32) bool { return r.open(wave) == 0 && r.proven(wave) }

// allConverged says whether every host of every wave converged, the skipped ones excepted. A deferred host has not.
func (p *Planner) allConverged(r *rolloutState) bool {
	for i := range r.waves {
		w := &r.waves[i]
		if int32(w.end-w.start) != w.count[converged]+w.skippedLeft || !r.proven(uint32(i)) {
			return false
		}
	}
	return len(r.waves) > 0
}

// expired says whether the rollout may be forgotten: over, not the newest, kept long enough, and nobody in flight.
func (p *Planner) expired(r *rolloutState) bool {
	switch r.rec.State {
	case Terminal, Superseded, Failed, Reverted:
		return !p.newest(r) && !p.now.Before(r.rec.ChangedAt.Add(p.settings.Retention)) && p.deserted(r)
	case Unopened, Opening, Active, Converging, Pruned:
	}
	return false
}

// deserted says whether nobody who could still report is in flight in the rollout.
func (p *Planner) deserted(r *rolloutState) bool {
	return r.inFlight == 0 || !slices.ContainsFunc(r.slots, func(s slot) bool { return s.stand.phase.inFlight() && !p.hosts[s.host].offline })
}

// step moves a rollout and says so, and whether the machine took the event. It refuses nothing that nextEvent finds;
// if it did, the rollout would stay as it is, and every host of it keep its reason.
func (p *Planner) step(r *rolloutState, e Event) bool {
	next, effects, err := Step(r.rec, e, p.now)
	if err != nil {
		p.refusal = err
		return false
	}
	from := r.rec.Wave
	p.setRollout(r, next)
	switch e := e.(type) {
	case RolloutOpened:
		p.out = append(p.out, OpenRollout{Event: e, Record: next})
		p.succeed(r)
	case WaveAdvanced:
		p.out = append(p.out, AdvanceWave{Rollout: r.id, From: from, To: e.To, Skipped: p.skipped(r, from), Record: next})
	case HostJoined, WaveDone, AllConverged, HostReverted, HostFailed, OperatorClearance, SuccessorOpened, RetentionExpired:
		p.out = append(p.out, StepRollout{Rollout: r.id, Event: e, Record: next, Effects: effects})
	}
	p.carryOut(effects)
	return true
}

// Err returns the last refusal of an event that the planner itself found, nil if there was none: a programming
// error, for the log and for tests.
func (p *Planner) Err() error { return p.refusal }

// carryOut does the planner's part of the effects.
func (p *Planner) carryOut(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case RolloutTransition, ForgetRollout: // the record says so already
		case MarkCleared:
			for _, name := range e.Hosts {
				if r, i, ok := p.find(name, e.ID); ok {
					facts := r.slots[i].slotFacts
					facts.cleared = true
					p.setFacts(r, i, facts)
				}
			}
		case WithdrawQueued:
			p.rollouts[e.ID].lookAtAll() // withdraw takes back what is queued in a rollout that is not the newest
		}
	}
}

// succeed has the older rollouts of the channel looked at: they have a successor now.
func (p *Planner) succeed(newest *rolloutState) {
	for _, r := range p.inOrder() {
		if r.channel != newest.channel || r == newest {
			continue
		}
		p.run(r)
	}
}

// skipped names the hosts of a wave that promotion did not wait for.
func (p *Planner) skipped(r *rolloutState, wave uint32) []string {
	var names []string
	w := &r.waves[wave]
	if w.skippedOpen == 0 {
		return nil
	}
	for i := w.start; i < w.end; i++ {
		if st := r.slots[i].stand; st.skip && !st.phase.done() {
			names = append(names, p.hosts[r.slots[i].host].name)
		}
	}
	return names
}
