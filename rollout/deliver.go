package rollout

import "time"

// Deliverable says whether the host's dispatch in the rollout may be written to a response now, and if not, why. It
// checks every gate again: facts may have changed since the dispatch was queued. A dispatch that may not is withdrawn
// by the next pass or becomes deliverable again.
func (p *Planner) Deliverable(name, rollout string, now time.Time) (*Reason, bool) {
	r, i, ok := p.find(name, rollout)
	if !ok {
		return p.plain(nil, NoRollout, ControlPlane, "nothing is known of "+name+" in "+rollout, "a dispatch"), false
	}
	s := &r.slots[i]
	if s.stand.phase != queued && s.stand.phase != written {
		return p.plain(r, NoRollout, ControlPlane, name+" has no dispatch in "+rollout, "a dispatch"), false
	}
	if !p.newest(r) {
		return p.supersededReason(r), false
	}
	p.advance(now)
	p.reblockOne(r)
	b := p.gate(r, i, true)
	if b.gate != Open {
		return p.reason(r, i, b), false
	}
	return nil, true
}
