package rollout

import (
	"fmt"
	"slices"
	"strings"

	"nixfleet/host"
)

// namedHosts is how many hosts a reason names; the counts beside them are exact. Enough to start looking.
const namedHosts = 5

func (ph phase) String() string { return phaseNames[ph] }

var phaseNames = [phases]string{
	"waiting", "queued", "written", "Activating", "Deferred", "Soaking", "Converged", "rolling back", "Failed", "Reverted",
	"cleared", "superseded",
}

// dispatchedReason explains a host that has its dispatch and did not accept it yet.
func (p *Planner) dispatchedReason(r *rolloutState, i int32) *Reason {
	s := &r.slots[i]
	h := &p.hosts[s.host]
	if h.status.RefusedRollout == r.id {
		return p.plain(r, Refused, Operator, h.name+" refuses its dispatch: "+h.status.RefusedReason, "the cause going away",
			Fact{"refused", h.status.RefusedReason}, Fact{"dispatchedAt", clock(s.dispatch.At)})
	}
	out := p.plain(r, AwaitingHost, Agent, fmt.Sprintf("%s was dispatched at %s and has not accepted yet", h.name, clock(s.dispatch.At)),
		"its DispatchAck", Fact{"dispatch", s.stand.phase.String()}, Fact{"dispatchedAt", clock(s.dispatch.At)}, Fact{"lastHeartbeat", clock(h.status.LastSeen)})
	return out
}

// progressReason explains a host that is on its way.
func (p *Planner) progressReason(r *rolloutState, i int32) *Reason {
	s := &r.slots[i]
	name, rec := p.hosts[s.host].name, s.record
	switch s.stand.phase {
	case activating:
		return p.plain(r, Switching, Agent, name+" is switching", "the end of the switch",
			Fact{"acceptedAt", clock(rec.DispatchAckedAt)}, Fact{"startedAt", clock(rec.ActivationStartedAt)})
	case deferred:
		return p.plain(r, Reboot, Operator, fmt.Sprintf("%s is set for boot: %s cannot be swapped live", name, rec.DeferredComponent),
			"a reboot", Fact{"component", rec.DeferredComponent})
	case idle, queued, written, soaking, converged, rollingBack, failed, reverted, cleared, superseded:
	}
	out := p.plain(r, SoakTime, Agent, fmt.Sprintf("%s soaks until %s", name, clock(rec.SoakDueAt)), "the end of the soak with every enforce probe passing",
		Fact{"soakDueAt", clock(rec.SoakDueAt)})
	if err := host.CheckConverged(rec, rec.SoakDueAt, rec.CurrentClosure); err != nil {
		out.Facts = append(out.Facts, Fact{"against", err.Error()})
	}
	if bad := rec.EnforceFailing(); len(bad) > 0 {
		out.Text += ", and fails " + strings.Join(bad, ", ")
		out.Facts = append(out.Facts, Fact{"failingSince", clock(rec.ProbeFailureFirstAt)})
	}
	if rec.SoakDueAt.After(p.now) {
		out.Earliest = rec.SoakDueAt
	}
	return out
}

// endReason explains a host that goes nowhere in this rollout.
func (p *Planner) endReason(r *rolloutState, i int32) *Reason {
	s := &r.slots[i]
	name, rec := p.hosts[s.host].name, s.record
	switch s.stand.phase {
	case rollingBack:
		return p.plain(r, RollingBack, Agent, fmt.Sprintf("%s failed at %s and goes back to %s", name, clock(rec.FailedAt), rec.CurrentClosureAtDispatch),
			"the end of the rollback", Fact{"failedAt", clock(rec.FailedAt)}, count("attempts", int32(min(rec.RollbackAttempts, host.MaxRollbackAttempts))))
	case failed:
		return p.plain(r, NewRef, Operator, fmt.Sprintf("%s failed at %s and is not taken back", name, clock(rec.FailedAt)),
			"an operator mending it, then a new ref", Fact{"failedAt", clock(rec.FailedAt)}, Fact{"policyApplied", rec.PolicyApplied.String()})
	case reverted:
		return p.plain(r, NewRef, Release, fmt.Sprintf("%s went back to %s at %s", name, rec.RevertedTo, clock(rec.RevertedAt)),
			"a new ref", Fact{"revertedAt", clock(rec.RevertedAt)}, Fact{"revertedTo", rec.RevertedTo})
	case cleared:
		return p.plain(r, NewRef, Release, name+" was cleared by an operator", "a new ref", Fact{"state", rec.State.String()})
	case idle, queued, written, activating, deferred, soaking, converged, superseded:
	}
	return p.plain(r, NewRef, Release, fmt.Sprintf("%s accepted %s instead", name, rec.SupersededBy), "a new ref", Fact{"supersededBy", rec.SupersededBy})
}

// goneReason explains a slot whose host left the rollout's channel.
func (p *Planner) goneReason(r *rolloutState, i int32) *Reason {
	h := &p.hosts[r.slots[i].host]
	to := "no channel"
	if h.channel != nil {
		to = h.channel.name
	}
	return p.plain(r, WavePromotion, Release, fmt.Sprintf("%s left channel %s", h.name, r.channel), "a release of the channel it is on now",
		Fact{"channel", to})
}

func (p *Planner) supersededReason(r *rolloutState) *Reason {
	by := r.rec.SupersededBy
	if c := p.channels[r.channel]; by == "" && c != nil && c.newest != nil {
		by = c.newest.id
	}
	return p.plain(r, Halted, ControlPlane, r.id+" is superseded by "+by, "the dispatch of "+by, Fact{"supersededBy", by})
}

// failingBefore returns a host of an earlier wave with failing enforce probes.
func (p *Planner) failingBefore(r *rolloutState, wave int32) (string, []string) {
	for w := range r.waves[:wave] {
		if r.waves[w].failing == 0 {
			continue
		}
		for i := r.waves[w].start; i < r.waves[w].end; i++ {
			if h := &p.hosts[r.slots[i].host]; r.slots[i].stand.failing {
				return h.name, h.status.Failing
			}
		}
	}
	return "", nil
}

// inFlightFacts names hosts that take the budget's slots, and those that would if they were not silent for so long.
func (p *Planner) inFlightFacts(g int32) []Fact {
	facts := p.nameHosts("hosts", func(h *hostState) bool { return h.counted && slices.Contains(h.groups, g) })
	return append(facts, p.nameHosts("silentNotCounted", func(h *hostState) bool {
		return h.offline && h.inFlight > 0 && slices.Contains(h.groups, g)
	})...)
}

func (p *Planner) unheardFacts(c *channelState) []Fact {
	return p.nameHosts("notHeard", func(h *hostState) bool { return h.channel == c && !h.status.Heard })
}

// nameHosts names the first hosts that are so. It looks at the whole fleet, so only a reason that was asked for has
// names, not those of a pass.
func (p *Planner) nameHosts(fact string, is func(*hostState) bool) []Fact {
	if p.shared != nil {
		return nil
	}
	var names []string
	for h := range p.hosts {
		if is(&p.hosts[h]) {
			names = append(names, p.hosts[h].name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	if len(names) > namedHosts {
		names = append(names[:namedHosts], "...")
	}
	return []Fact{{fact, strings.Join(names, ", ")}}
}
