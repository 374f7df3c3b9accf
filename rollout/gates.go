package rollout

import (
	"math"
	"time"

	"nixfleet/fleet"
)

// noWave is beyond every wave.
const noWave = math.MaxInt32

// rolloutBlock is what the gates say about a rollout as a whole. When it changes, everything that waits in the
// rollout is looked at again.
type rolloutBlock struct {
	warming  bool
	halted   bool
	behind   string // the channel that goes first, "" none
	wave     int32  // the last wave that is released
	holdFrom int32  // the first wave that the compliance gate holds
	stale    bool
}

// blocked is one gate, and the thing it is about: a budget or a host.
type blocked struct {
	gate Gate
	ref  int32
}

// blockOf looks at the rollout's own gates.
func (p *Planner) blockOf(r *rolloutState) rolloutBlock {
	c := p.channels[r.channel]
	b := rolloutBlock{holdFrom: noWave, wave: -1}
	if r.rec.State != Unopened {
		b.wave = int32(r.rec.Wave)
	}
	b.warming = c.unheard > 0 && p.now.Before(p.warmUntil)
	b.halted = r.rec.State.Halted() || r.rec.State == Superseded || r.rec.State == Pruned ||
		r.count[rollingBack]+r.count[failed]+r.count[reverted] > 0
	b.behind = p.behind(c)
	for w := range r.waves {
		if r.waves[w].failing > 0 {
			b.holdFrom = int32(w) + 1
			break
		}
	}
	b.stale = p.stale(r, p.now)
	return b
}

// behind returns the first channel that has to be Terminal before this one goes. A channel without a manifest, or
// with a manifest without hosts, has nothing to wait for.
func (p *Planner) behind(c *channelState) string {
	for _, name := range c.after {
		first := p.channels[name]
		if first == nil || first.newest == nil || first.newest.listed == 0 {
			continue
		}
		if first.newest.rec.State != Terminal {
			return name
		}
	}
	return ""
}

// freshUntil is when the rollout's signature grows stale; zero: never.
func (p *Planner) freshUntil(r *rolloutState) time.Time {
	c := p.channels[r.channel]
	if r.manifest == nil || c == nil || c.window == 0 || r.manifest.Meta.SignedAt.IsZero() {
		return time.Time{}
	}
	return r.manifest.Meta.SignedAt.Add(c.window + FreshnessSlack)
}

func (p *Planner) stale(r *rolloutState, now time.Time) bool {
	until := p.freshUntil(r)
	return !until.IsZero() && now.After(until)
}

// reblock looks at the rollout-wide gates of the channels' newest rollouts.
func (p *Planner) reblock() {
	for _, r := range p.inOrder() {
		if p.newest(r) {
			p.reblockOne(r)
		}
	}
}

func (p *Planner) reblockOne(r *rolloutState) {
	if b := p.blockOf(r); b != r.block {
		r.block = b
		r.lookAtAll()
	}
}

// gate returns the first gate that blocks the slot. issued: it has a dispatch already, so it counts in its budgets.
// This is the one place with the order of docs/design/07-control-plane.md.
func (p *Planner) gate(r *rolloutState, i int32, issued bool) blocked {
	s := &r.slots[i]
	h := &p.hosts[s.host]
	switch {
	case r.block.warming:
		return blocked{gate: WarmUp}
	case h.status.Held != "":
		return blocked{gate: Held}
	case p.quarantined(r, s):
		return blocked{gate: Quarantine}
	case r.block.halted:
		return blocked{gate: Halted}
	case r.block.behind != "":
		return blocked{gate: ChannelEdgeGate}
	case s.wave < 0 || s.wave > r.block.wave || h.channel == nil || h.channel.newest != r:
		return blocked{gate: WavePromotion}
	}
	for _, first := range p.waits[s.host] {
		if st, there := p.newestStanding(first); there && !st.passed() {
			return blocked{HostEdge, first}
		}
	}
	if g, full := p.full(h, issued); full {
		return blocked{DisruptionBudget, g}
	}
	switch {
	case s.wave >= r.block.holdFrom:
		return blocked{gate: ComplianceWave}
	case r.block.stale:
		return blocked{gate: StaleSignature}
	case h.quiet:
		return blocked{gate: Silent}
	}
	return blocked{}
}

// newestStanding is how a host stands in its channel's newest rollout, and whether that lists it. Elsewhere there is
// nothing to wait for.
func (p *Planner) newestStanding(h int32) (standing, bool) {
	hs := &p.hosts[h]
	for _, at := range hs.slots {
		if hs.channel != nil && at.rollout == hs.channel.newest && at.rollout.slots[at.slot].wave >= 0 {
			return at.rollout.slots[at.slot].stand, true
		}
	}
	return standing{}, false
}

func (p *Planner) quarantined(r *rolloutState, s *slot) bool {
	return s.entry >= 0 && p.channels[r.channel].quarantines > 0 && p.quarantin[quarantine{r.channel, r.target(s)}]
}

// full returns the first budget of the host that has no room for it. A host that counts already takes no slot: it is
// only held back by a budget that is exceeded, and that only where its dispatch is what could be taken back.
func (p *Planner) full(h *hostState, issued bool) (int32, bool) {
	for _, g := range h.groups {
		room := p.groups[g].limit - p.groups[g].inFlight
		if !h.counted && room <= 0 || issued && h.inFlight <= 1 && room < 0 {
			return g, true
		}
	}
	return 0, false
}

// target is the closure that the manifest has for the slot.
func (r *rolloutState) target(s *slot) string { return r.listing(s).TargetClosure }

func (r *rolloutState) listing(s *slot) fleet.HostSetEntry {
	if s.entry < 0 {
		return fleet.HostSetEntry{}
	}
	return r.manifest.HostSet[s.entry]
}
