package rollout

// WaveCount is how one wave stands.
type WaveCount struct {
	Hosts, Waiting, Dispatched, Activating, Deferred, Soaking, Converged int
	Failed, Reverted, Cleared, Superseded                                int
	Skipped                                                              int // of those not converged: not waited for
}

// Rollout returns a rollout as the planner has it, and whether it knows it.
func (p *Planner) Rollout(id string) (Record, bool) {
	r := p.rollouts[id]
	if r == nil {
		return Record{}, false
	}
	return r.rec, true
}

// Rollouts returns every rollout that was opened and is kept, by channel and then id.
func (p *Planner) Rollouts() []Record {
	var out []Record
	for _, r := range p.inOrder() {
		if r.rec.State != Unopened && r.rec.State != Pruned {
			out = append(out, r.rec)
		}
	}
	return out
}

// Newest returns the id of the channel's newest rollout, "" if it has none.
func (p *Planner) Newest(channel string) string {
	if c := p.channels[channel]; c != nil && c.newest != nil {
		return c.newest.id
	}
	return ""
}

// Waves counts the hosts of each wave of a rollout.
func (p *Planner) Waves(id string) []WaveCount {
	r := p.rollouts[id]
	if r == nil {
		return nil
	}
	out := make([]WaveCount, len(r.waves))
	for i := range r.waves {
		w := &r.waves[i]
		n := func(ph phase) int { return int(w.count[ph]) }
		out[i] = WaveCount{
			Hosts: w.end - w.start, Waiting: n(idle), Dispatched: n(queued) + n(written), Activating: n(activating),
			Deferred: n(deferred), Soaking: n(soaking), Converged: n(converged), Failed: n(rollingBack) + n(failed),
			Reverted: n(reverted), Cleared: n(cleared), Superseded: n(superseded), Skipped: int(w.skippedLeft),
		}
	}
	return out
}

// Skipped names, in order, the hosts of a wave of the rollout that promotion does not wait for and that are not done:
// silent beyond offlineAfter, cleared, or gone to another channel.
func (p *Planner) Skipped(id string, wave uint32) []string {
	r := p.rollouts[id]
	if r == nil || int(wave) >= len(r.waves) {
		return nil
	}
	return p.skipped(r, wave)
}

// Budget is one disruption budget as it stands now.
type Budget struct {
	Selector        string
	InFlight, Limit int
}

// Budgets returns every budget in force as of the last pass, in order of selector.
func (p *Planner) Budgets() []Budget {
	out := make([]Budget, len(p.groups))
	for i, g := range p.groups {
		out[i] = Budget{Selector: g.key, InFlight: int(g.inFlight), Limit: int(g.limit)}
	}
	return out
}
