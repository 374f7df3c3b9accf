package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Reason returns why the host does not advance, as of the last pass, and whether there is such a thing: a host that
// converged in its channel's newest rollout has none, and neither has one the planner was never told of.
// docs/design/07-control-plane.md.
func (p *Planner) Reason(name string) (*Reason, bool) {
	h, ok := p.hostOf[name]
	if !ok {
		return nil, false
	}
	hs := &p.hosts[h]
	if hs.channel == nil {
		return p.plain(nil, NoRollout, Release, fmt.Sprintf("%s is not in the fleet", name), "a release of a fleet that lists it"), true
	}
	r := hs.channel.newest
	if r == nil {
		return p.plain(nil, NoRollout, Release, fmt.Sprintf("channel %s has no rollout", hs.channel.name), "a release of the channel"), true
	}
	_, i, ok := p.findIn(h, r.id)
	if !ok || r.slots[i].wave < 0 && r.slots[i].stand.phase == idle {
		return p.plain(r, WavePromotion, Release, fmt.Sprintf("%s is in no wave of %s", name, r.id), "a release that gives it a closure and a wave"), true
	}
	return p.reasonIn(r, i)
}

// reasonIn explains a slot of a newest rollout.
func (p *Planner) reasonIn(r *rolloutState, i int32) (*Reason, bool) {
	switch r.slots[i].stand.phase {
	case converged:
		return nil, false
	case idle:
		b := p.gate(r, i, false)
		if b.gate == Open {
			return p.plain(r, AwaitingHost, ControlPlane, "nothing is in the way", "the next pass of the planner"), true
		}
		return p.reason(r, i, b), true
	case queued, written:
		return p.dispatchedReason(r, i), true
	case activating, deferred, soaking:
		return p.progressReason(r, i), true
	case rollingBack, failed, reverted, cleared, superseded:
		return p.endReason(r, i), true
	}
	return nil, false
}

// plain makes a reason without further facts.
func (p *Planner) plain(r *rolloutState, g Gate, o Owner, text, unblocks string, facts ...Fact) *Reason {
	out := &Reason{Gate: g, Text: text, Facts: facts, Owner: o, Unblocks: unblocks}
	if r != nil {
		out.StaleAt = p.freshUntil(r)
	}
	return out
}

// sharedReason is what two slots must have in common to have the same reason.
type sharedReason struct {
	rollout *rolloutState
	blocked blocked
	wave    int32
}

// reason explains a gate. Where the reason is the same for many hosts, one value serves them all within a pass.
func (p *Planner) reason(r *rolloutState, i int32, b blocked) *Reason {
	if c := p.hosts[r.slots[i].host].channel; b.gate == WavePromotion && (c == nil || c.newest != r) {
		return p.goneReason(r, i)
	}
	switch b.gate {
	case Held, Quarantine, Silent, HostEdge:
		return p.hostReason(r, i, b)
	case WarmUp, Halted, ChannelEdgeGate, WavePromotion, DisruptionBudget, ComplianceWave, StaleSignature:
	case Open, NoRollout, AwaitingHost, Refused, Switching, Reboot, SoakTime, RollingBack, NewRef: // not gates
	}
	key := sharedReason{r, b, r.slots[i].wave}
	if out := p.shared[key]; out != nil {
		return out
	}
	out := p.rolloutReason(r, i, b)
	if p.shared != nil {
		p.shared[key] = out
	}
	return out
}

// hostReason explains the gates that are about the host itself.
func (p *Planner) hostReason(r *rolloutState, i int32, b blocked) *Reason {
	s := &r.slots[i]
	h := &p.hosts[s.host]
	switch {
	case b.gate == Held:
		return p.plain(r, Held, Operator, h.name+" is held: "+h.status.Held, "the cause going away, or an operator", Fact{"held", h.status.Held})
	case b.gate == Quarantine:
		return p.plain(r, Quarantine, Operator,
			fmt.Sprintf("%s is quarantined on channel %s", r.target(s), r.channel),
			"a release with another closure, or clearing the quarantine", Fact{"channel", r.channel}, Fact{"closure", r.target(s)})
	case b.gate == HostEdge:
		first := p.hosts[b.ref].name
		st, _ := p.newestStanding(b.ref)
		return p.plain(r, HostEdge, Agent, fmt.Sprintf("%s goes after %s, which is %s", h.name, first, st.phase),
			first+" converging", Fact{"gates", first}, Fact{"gatesState", st.phase.String()})
	}
	return p.plain(r, Silent, Agent, h.name+" was not heard "+p.since(h.status.LastSeen), "a heartbeat",
		Fact{"lastHeartbeat", clock(h.status.LastSeen)}, Fact{"silenceAllowed", p.settings.silence().String()})
}

// rolloutReason explains the gates that hold every host of a wave alike.
func (p *Planner) rolloutReason(r *rolloutState, i int32, b blocked) *Reason {
	switch {
	case b.gate == WarmUp:
		return p.warmUpReason(r)
	case b.gate == Halted:
		return p.haltReason(r)
	case b.gate == ChannelEdgeGate:
		first := p.channels[r.block.behind].newest
		return p.plain(r, ChannelEdgeGate, ControlPlane,
			fmt.Sprintf("channel %s goes after %s, whose rollout %s is %s", r.channel, r.block.behind, first.id, first.rec.State),
			first.id+" becoming Terminal", Fact{"gates", r.block.behind}, Fact{"gatesRollout", first.id}, Fact{"gatesState", first.rec.State.String()})
	case b.gate == DisruptionBudget:
		g := p.groups[b.ref]
		return p.plain(r, DisruptionBudget, ControlPlane,
			fmt.Sprintf("%d of at most %d hosts of budget %q are in flight", g.inFlight, g.limit, g.key),
			"one of them finishing", append([]Fact{{"selector", g.key}, count("inFlight", g.inFlight), count("limit", g.limit)}, p.inFlightFacts(b.ref)...)...)
	case b.gate == ComplianceWave:
		host, probes := p.failingBefore(r, r.slots[i].wave)
		return p.plain(r, ComplianceWave, Operator, fmt.Sprintf("%s of an earlier wave fails %s now", host, strings.Join(probes, ", ")),
			"its enforce probes passing", Fact{"host", host}, Fact{"probes", strings.Join(probes, ",")})
	case b.gate == StaleSignature:
		until := p.freshUntil(r)
		return p.plain(r, StaleSignature, Release, "the signature of "+r.id+" was good until "+clock(until), "signing it again", Fact{"freshUntil", clock(until)})
	}
	return p.waveReason(r, i)
}

func (p *Planner) warmUpReason(r *rolloutState) *Reason {
	c := p.channels[r.channel]
	out := p.plain(r, WarmUp, ControlPlane,
		fmt.Sprintf("the control plane was started at %s and has not heard %d hosts of channel %s yet", clock(p.startedAt), c.unheard, c.name),
		"every host being heard, or the time", append([]Fact{count("unheard", int32(c.unheard))}, p.unheardFacts(c)...)...)
	out.Earliest = p.warmUntil
	return out
}

func (p *Planner) haltReason(r *rolloutState) *Reason {
	if r.rec.State == Superseded || r.rec.State == Pruned {
		return p.plain(r, Halted, Release, r.id+" is "+r.rec.State.String()+" and comes back no more", "a new ref", Fact{"state", r.rec.State.String()})
	}
	owner, unblocks := Operator, "a clearance, or a new ref"
	if r.count[reverted]+r.count[failed] == 0 && !r.rec.State.Halted() {
		owner, unblocks = Agent, "the end of the rollback, then a clearance or a new ref"
	}
	host, ok := p.first(r, func(ph phase) bool { return ph == rollingBack || ph == failed || ph == reverted })
	if !ok {
		host = r.rec.HaltedBy
	}
	return p.plain(r, Halted, owner, fmt.Sprintf("%s is halted: %s failed", r.id, host), unblocks,
		Fact{"state", r.rec.State.String()}, Fact{"host", host},
		count("rollingBack", r.count[rollingBack]), count("failed", r.count[failed]), count("reverted", r.count[reverted]))
}

func (p *Planner) waveReason(r *rolloutState, i int32) *Reason {
	if r.rec.State == Unopened {
		if p.stale(r, p.now) {
			return p.rolloutReason(r, i, blocked{gate: StaleSignature})
		}
		return p.plain(r, WavePromotion, ControlPlane, r.id+" is not opened yet", "the next pass of the planner")
	}
	cur := r.rec.Wave
	facts := []Fact{count("wave", r.slots[i].wave), count("currentWave", int32(cur)), count("waiting", r.open(cur)), count("converged", r.waves[cur].count[converged])}
	text := fmt.Sprintf("wave %d of %s is not released: wave %d waits for %d hosts", r.slots[i].wave, r.id, cur, r.open(cur))
	if r.open(cur) == 0 && !r.proven(cur) {
		names := p.skipped(r, cur)
		if len(names) > namedHosts {
			names = names[:namedHosts]
		}
		if r.waves[cur].count[deferred] > 0 {
			return p.plain(r, WavePromotion, Operator, fmt.Sprintf("wave %d of %s is set for boot only, no host of it converged", cur, r.id),
				"a reboot of a host of it", facts...)
		}
		return p.plain(r, WavePromotion, Operator, fmt.Sprintf("wave %d of %s has only hosts that are skipped: %s", cur, r.id, strings.Join(names, ", ")),
			"one of them coming back, or a clearance", append(facts, Fact{"skipped", strings.Join(names, ",")})...)
	}
	if names := p.skipped(r, cur); p.shared == nil && len(names) > 0 {
		facts = append(facts, Fact{"skipped", strings.Join(names[:min(len(names), namedHosts)], ",")})
	}
	out := p.plain(r, WavePromotion, ControlPlane, text, fmt.Sprintf("every host of wave %d converging", cur), facts...)
	if due := r.latestSoak(cur); due.After(p.now) {
		out.Earliest = due
	}
	return out
}

// latestSoak is when the last soaking host of the wave is due.
func (r *rolloutState) latestSoak(wave uint32) time.Time {
	var due time.Time
	w := &r.waves[wave]
	if w.count[soaking] == 0 {
		return due
	}
	for i := w.start; i < w.end; i++ {
		if s := &r.slots[i]; s.stand.phase == soaking && s.record.SoakDueAt.After(due) {
			due = s.record.SoakDueAt
		}
	}
	return due
}

func count(name string, n int32) Fact { return Fact{name, strconv.Itoa(int(n))} }

// clock writes a time as everything here does.
func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func (p *Planner) since(t time.Time) string {
	if t.IsZero() {
		return "yet"
	}
	return "since " + clock(t)
}
