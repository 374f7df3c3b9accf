package core

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/rollout"
)

// MaxBatch is how many inputs one commit takes: enough to spread an fsync, few enough to answer within milliseconds.
const MaxBatch = 256

// Recall names what [Core.Handle] needs of the batch from outside: hashes of stored events, for telling duplicates
// from forks, and tickets of rollouts that the mirror has no policy for. What does not exist is left out of the answer.
func (c *Core) Recall(batch []Input) Wanted {
	w := Wanted{}
	tickets := map[TicketKey]struct{}{}
	ticket := func(rolloutID, hostname string) {
		key := TicketKey{RolloutID: rolloutID, Host: hostname}
		if _, asked := tickets[key]; asked {
			return
		}
		tickets[key] = struct{}{}
		w.Tickets = append(w.Tickets, key)
	}
	for _, in := range batch {
		switch in := in.(type) {
		case Events:
			c.recallEvents(&in, &w, ticket)
		case Beat:
			for _, r := range in.Heartbeat.Reverted {
				if c.quarantines[quarantineKey{r.Channel, r.Closure}] == nil {
					for _, id := range c.rolloutsOf(r.Channel, in.Heartbeat.Hostname, r.Closure) {
						ticket(id, in.Heartbeat.Hostname)
					}
				}
			}
		case Poll:
			if h := c.hosts[in.Host]; h != nil && h.dispatch != nil && !h.dispatch.written {
				ticket(h.dispatch.message.RolloutID, in.Host)
			}
		case RecordReport:
			if !c.policyKnown(in.Message.Hostname, in.Message.RolloutID) {
				ticket(in.Message.RolloutID, in.Message.Hostname)
			}
		case DocumentsChanged:
			for _, key := range c.parkedKeys() {
				ticket(key.RolloutID, key.Host)
			}
		case Tick, Clear, ClearQuarantine, Release, Ask:
		}
	}
	return w
}

func (c *Core) recallEvents(in *Events, w *Wanted, ticket func(rolloutID, hostname string)) {
	h := c.hosts[in.Host]
	for i := range in.Received {
		e := &in.Received[i].Envelope
		var m *mirror
		if h != nil {
			m = h.mirror(e.RolloutID)
		}
		// Of a rollout that is unknown, or forgotten, only the log knows what is stored.
		if m == nil || m.record == nil || e.Seq <= m.highest {
			w.Hashes = append(w.Hashes, ledger.EventKey{Host: in.Host, RolloutID: e.RolloutID, Seq: e.Seq})
			if after := afterOf(e); m == nil && after > 0 {
				w.Hashes = append(w.Hashes, ledger.EventKey{Host: in.Host, RolloutID: e.RolloutID, Seq: after})
			}
		}
		if _, err := fleet.ParseRolloutID(e.RolloutID); err == nil && !c.policyKnown(in.Host, e.RolloutID) {
			ticket(e.RolloutID, in.Host)
		}
	}
}

// policyKnown says whether the ticket of the host in the rollout was captured already.
func (c *Core) policyKnown(hostname, rolloutID string) bool {
	h := c.hosts[hostname]
	if h == nil {
		return false
	}
	m := h.mirror(rolloutID)
	return m != nil && m.record != nil && m.policy != nil
}

// parkedKeys lists the unknown rollouts that hosts sent events of, in order.
func (c *Core) parkedKeys() []TicketKey {
	var keys []TicketKey
	for key := range c.parked {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b TicketKey) int {
		if a.Host != b.Host {
			return cmp.Compare(a.Host, b.Host)
		}
		return cmp.Compare(a.RolloutID, b.RolloutID)
	})
	return keys
}

// Handle decides what a batch of at most [MaxBatch] inputs brings, and what the planner makes of it. Nothing in the
// core changes, but for the documents, which are not the store's; either Applied or Dropped must follow before the
// next Handle. An error means that the program contradicts itself; the batch is then dropped already.
func (c *Core) Handle(batch []Input, recalled Recalled, now time.Time) (*Commit, error) {
	now = now.UTC()
	c.planner.Begin()
	t := c.begin(now, recalled)
	for _, in := range batch {
		answer, err := t.handle(in)
		if err == nil {
			err = t.tellPlanner()
		}
		if err != nil {
			c.planner.Rollback()
			return nil, err
		}
		t.out.Answers = append(t.out.Answers, answer)
	}
	if !idle(batch) {
		if err := errors.Join(t.plan(), t.tellPlanner(), c.planner.Err()); err != nil {
			c.planner.Rollback()
			return nil, err
		}
	}
	t.writeViews()
	return t.out, nil
}

// idle says whether nothing in the batch can change a plan.
func idle(batch []Input) bool {
	for _, in := range batch {
		switch in.(type) {
		case Poll, Ask:
		case Events, Beat, RecordReport, DocumentsChanged, Tick, Clear, ClearQuarantine, Release:
			return false
		}
	}
	return true
}

func (t *tx) handle(in Input) (Answer, error) {
	switch in := in.(type) {
	case Events:
		return t.events(in)
	case Beat:
		return t.beat(&in.Heartbeat)
	case Poll:
		return t.poll(in)
	case RecordReport:
		return t.report(&in)
	case DocumentsChanged:
		return NoAnswer{}, t.adopt(in.Documents)
	case Tick:
		return NoAnswer{}, nil
	case Clear:
		return t.clear(in)
	case ClearQuarantine:
		return t.clearQuarantine(in)
	case Release:
		return t.release(in)
	case Ask:
		return t.answer(in.Question)
	}
	return nil, fmt.Errorf("core: unknown input %T", in)
}

// adopt puts documents in force and steps what waited for them.
func (t *tx) adopt(d *Documents) error {
	t.core.setDocuments(d)
	for _, key := range t.core.parkedKeys() {
		if _, known := t.ticket(key.RolloutID, key.Host); known {
			if err := t.unpark(key.Host, key.RolloutID); err != nil {
				return err
			}
		}
	}
	return nil
}

// setDocuments tells the planner what changed.
func (c *Core) setDocuments(d *Documents) {
	old := c.documents
	c.documents = d
	if f := d.Fleet.Value(); f != nil && (old == nil || old.Fleet.Value() != f) {
		c.planner.SetFleet(f)
	}
	newest := d.newest()
	for _, id := range slices.Sorted(maps.Keys(d.Manifests)) {
		m := d.Manifests[id].Value()
		if old != nil && old.Manifests[id].Value() == m && c.planner.Newest(m.Channel) == newest[m.Channel] {
			continue
		}
		c.planner.SetManifest(m, newest[m.Channel] == id)
	}
}

// newest returns each channel's newest rollout: the one the signed fleet names, or, where it names none, the one signed
// last. One that is named and not published yet leaves the channel as it is.
func (d *Documents) newest() map[string]string {
	newest := map[string]string{}
	f := d.Fleet.Value()
	for id, v := range d.Manifests {
		channel := v.Value().Channel
		if at, has := newest[channel]; !has || later(d, id, at) {
			newest[channel] = id
		}
	}
	if f == nil {
		return newest
	}
	for channel := range newest {
		named, ok := f.Newest(channel)
		switch {
		case ok && !d.Manifests[named.String()].IsZero():
			newest[channel] = named.String()
		case f.ChannelRefs != nil:
			delete(newest, channel)
		}
	}
	return newest
}

// later orders rollouts of a channel by signature; a tie goes to the later id, so that all agree.
func later(d *Documents, a, b string) bool {
	x, y := d.Manifests[a].SignedAt(), d.Manifests[b].SignedAt()
	if x.Equal(y) {
		return a > b
	}
	return x.After(y)
}

// clear is an operator's clearance.
func (t *tx) clear(in Clear) (Answer, error) {
	step, err := t.core.planner.Clear(in.RolloutID, in.By, in.Reason, t.now)
	switch {
	case errors.Is(err, rollout.ErrNoRollout):
		return notFound(err.Error()), nil
	case err != nil:
		return StatusAnswer{Status: http.StatusConflict, Reason: err.Error()}, nil
	}
	return done(), t.fact("", in.RolloutID, RolloutStepped{Event: step.Event})
}

func (t *tx) clearQuarantine(in ClearQuarantine) (Answer, error) {
	q := t.quarantine(quarantineKey{in.Channel, in.Closure})
	if q == nil {
		return notFound(fmt.Sprintf("%s is not quarantined on %s", in.Closure, in.Channel)), nil
	}
	if !q.ClearedAt.IsZero() {
		return done(), nil
	}
	return done(), t.fact("", "", QuarantineCleared(in))
}

// release ends every hold on a host.
func (t *tx) release(in Release) (Answer, error) {
	h := t.look(in.Host)
	if h == nil || len(h.holds) == 0 {
		return notFound(in.Host + " is not held"), nil
	}
	for _, x := range slices.Clone(h.holds) {
		if err := t.fact(in.Host, "", HostReleased{Kind: x.kind, Reason: "by " + in.By}); err != nil {
			return nil, err
		}
	}
	h = t.host(in.Host)
	h.beat.retired = nil // an operator has looked: what comes back now is the machine itself
	return done(), nil
}

// tellPlanner passes on what the input just handled changed.
func (t *tx) tellPlanner() error {
	for key := range t.records {
		m := t.hosts[key.host].mirror(key.rollout)
		t.written[key] = struct{}{}
		if m == nil || m.record == nil {
			continue
		}
		t.core.planner.SetRecord(m.record)
	}
	clear(t.records)
	for name := range t.beats {
		t.core.planner.SetHost(name, t.hosts[name].status())
	}
	clear(t.beats)
	return nil
}
