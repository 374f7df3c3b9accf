package rollout

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/host"

	"pgregory.net/rapid"
)

// TestRandomFleetsKeepEveryPromise runs random fleets through random events and checks, after every pass, the named
// promises of the planner against the facts alone.
func TestRandomFleetsKeepEveryPromise(t *testing.T) {
	// A second's worth: the rarest of the defects it found took a thousand fleets.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("1000"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			m.change()
			if rapid.IntRange(0, 2).Draw(rt, "plan") == 0 {
				m.plan()
			}
		}
		m.plan()
	})
}

// model is a random fleet. Its facts are what it told the planner and what the planner decided.
type model struct {
	*world
	rt       *rapid.T
	names    []string
	released int
	ids      []string
	tags     map[string]bool
}

func newModel(t *testing.T, rt *rapid.T) *model {
	m := &model{world: newWorld(t), rt: rt, tags: map[string]bool{}}
	if rapid.Bool().Draw(rt, "empty") {
		m.p = NewPlanner(DefaultSettings(), start, true)
	}
	for i := range rapid.IntRange(1, 9).Draw(rt, "hosts") {
		name := fmt.Sprintf("h%d", i)
		m.names = append(m.names, name)
		var tags []string
		if rapid.Bool().Draw(rt, "tagged") {
			tags = []string{"db"}
			m.tags[name] = true
		}
		m.addHost(name, []string{"stable", "edge"}[rapid.IntRange(0, 1).Draw(rt, "channel")], tags...)
	}
	m.addChannel("stable", rapid.SampledFrom([]int{120, 100000}).Draw(rt, "window"))
	m.addChannel("edge", 100000)
	if rapid.Bool().Draw(rt, "budget") {
		m.addBudget(map[string]any{"all": true}, "maxInFlight", rapid.IntRange(1, 4).Draw(rt, "max"))
	}
	if rapid.Bool().Draw(rt, "budget") {
		m.addBudget(map[string]any{"tags": []string{"db"}}, "maxInFlightPct", rapid.IntRange(1, 100).Draw(rt, "pct"))
	}
	if rapid.Bool().Draw(rt, "channel edge") {
		m.chEdges = append(m.chEdges, map[string]any{"gated": "stable", "gates": "edge"})
	}
	for range rapid.IntRange(0, 2).Draw(rt, "edges") {
		a, b := m.anyHost(), m.anyHost()
		if a < b { // no cycles
			m.edges = append(m.edges, map[string]any{"gated": b, "gates": a})
		}
	}
	m.p.SetFleet(m.parseFleet())
	return m
}

func (m *model) anyHost() string { return rapid.SampledFrom(m.names).Draw(m.rt, "host") }

func (m *model) channelOf(name string) string {
	return m.hosts[name].(map[string]any)["channel"].(string)
}

// change does one random thing.
func (m *model) change() {
	switch rapid.IntRange(0, 19).Draw(m.rt, "change") {
	case 0:
		m.release()
	case 1:
		m.now = m.now.Add(time.Duration(rapid.SampledFrom([]int{1, 30, 60, 180, 3600, 86400, 40 * 86400}).Draw(m.rt, "wait")) * time.Second)
	case 2:
		name, held := m.anyHost(), rapid.SampledFrom([]string{"", "fork"}).Draw(m.rt, "held")
		m.tell(name, func(s *HostStatus) { s.Held = held })
	case 3:
		name, bad := m.anyHost(), rapid.Bool().Draw(m.rt, "failing")
		m.tell(name, func(s *HostStatus) {
			s.Failing = nil
			if bad {
				s.Failing = []string{"web"}
			}
		})
	case 4:
		if len(m.ids) > 0 {
			id := rapid.SampledFrom(m.ids).Draw(m.rt, "id")
			if _, err := m.p.Clear(id, "o", "r", m.now); err != nil {
				m.rt.Logf("%v", err)
			}
		}
	case 5:
		if rapid.IntRange(0, 9).Draw(m.rt, "restored") == 0 {
			m.p.Restored(m.now)
		}
		channel := rapid.SampledFrom([]string{"stable", "edge"}).Draw(m.rt, "channel")
		m.p.SetQuarantine(channel, rapid.SampledFrom([]string{"v1", "v2"}).Draw(m.rt, "closure"), rapid.Bool().Draw(m.rt, "on"))
	case 6:
		if rapid.IntRange(0, 3).Draw(m.rt, "move") == 0 {
			name := m.anyHost()
			var tags []string
			if m.tags[name] {
				tags = []string{"db"}
			}
			m.addHost(name, []string{"stable", "edge"}[rapid.IntRange(0, 1).Draw(m.rt, "channel")], tags...)
			m.p.SetFleet(m.parseFleet())
		}
	case 7, 8:
		for _, name := range m.names {
			m.heard(name)
		}
	case 9, 10, 11:
		name, holds := m.anyHost(), rapid.SampledFrom(append([]string{""}, m.ids...)).Draw(m.rt, "holds")
		m.tell(name, func(s *HostStatus) { s.LastSeen, s.Heard, s.Holds = m.now, true, holds })
	default:
		m.progress()
	}
}

func (m *model) release() {
	channel := rapid.SampledFrom([]string{"stable", "edge"}).Draw(m.rt, "channel")
	m.released++
	id := fmt.Sprintf("%s@r%d", channel, m.released)
	waves := make([][]string, rapid.IntRange(1, 3).Draw(m.rt, "waves"))
	for _, name := range m.names {
		if m.channelOf(name) == channel {
			w := rapid.IntRange(0, len(waves)-1).Draw(m.rt, "wave")
			waves[w] = append(waves[w], name)
		}
	}
	waves = slices.DeleteFunc(waves, func(w []string) bool { return len(w) == 0 }) // release refuses empty waves
	if len(waves) == 0 {
		return
	}
	m.ids = append(m.ids, id)
	m.p.SetManifest(m.manifest(id, rapid.SampledFrom([]string{"v1", "v2"}).Draw(m.rt, "target"), waves), true)
}

// progress moves a host that was dispatched, or one that is on its way, as its agent would.
func (m *model) progress() {
	h := m.p.hostOf[m.anyHost()]
	places := m.p.hosts[h].slots
	if len(places) == 0 {
		return
	}
	at := places[rapid.IntRange(0, len(places)-1).Draw(m.rt, "place")]
	name, id, s := m.p.hosts[h].name, at.rollout.id, &at.rollout.slots[at.slot]
	to := func(states ...host.State) {
		state := rapid.SampledFrom(states).Draw(m.rt, "to")
		target := at.rollout.target(s)
		old := s.record
		m.record(name, id, state, func(r *host.Record) {
			r.TargetClosure = target
			if old != nil {
				r.RollbackAttempts = old.RollbackAttempts
				r.PolicyApplied = old.PolicyApplied
			}
			if state == host.Failed && old != nil && old.State == host.Failed {
				r.RollbackAttempts++
			}
			if state == host.Failed && (old == nil || old.State != host.Failed) {
				r.PolicyApplied = rapid.SampledFrom([]host.OnFailure{host.Halt, host.RollbackAndHalt}).Draw(m.rt, "policy")
			}
		})
	}
	switch s.stand.phase {
	case queued:
		m.p.SetDispatch(name, id, at.rollout.channel, Dispatch{DispatchWritten, m.now})
	case written:
		to(host.Activating)
		m.supersede(name, id)
	case activating:
		to(host.Soaking, host.Soaking, host.Deferred, host.Failed)
	case deferred:
		to(host.Soaking, host.Failed)
	case soaking:
		to(host.Converged, host.Converged, host.Converged, host.Failed)
	case rollingBack, failed:
		to(host.Reverted, host.Failed)
	case idle, converged, reverted, cleared, superseded:
	}
}

// supersede marks the host's other records as the mirror does on a DispatchAck.
func (m *model) supersede(name, by string) {
	for _, at := range slices.Clone(m.p.hosts[m.p.hostOf[name]].slots) {
		if rec := at.rollout.slots[at.slot].record; at.rollout.id != by && rec != nil && rec.State != host.Pending && rec.SupersededBy == "" {
			next := *rec
			next.SupersededBy = by
			m.p.SetRecord(&next)
		}
	}
}

// plan makes a pass and checks it. A batch that is taken back and made again decides the same.
func (m *model) plan() {
	fresh := remade(m.p)
	want := decisions(fresh.Plan(m.now))
	if rapid.IntRange(0, 3).Draw(m.rt, "rollback") == 0 {
		m.p.Begin()
		m.p.Plan(m.now)
		m.p.Rollback()
	}
	m.p.Begin()
	actions := m.p.Plan(m.now)
	m.p.Commit()
	if got := decisions(actions); !slices.Equal(got, want) {
		m.rt.Fatalf("incremental decides\n  %s\nmade anew\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	if again := m.p.Plan(m.now); len(again) != 0 {
		m.rt.Fatalf("a second pass of nothing new decides %v", describe(again[0]))
	}
	fresh = remade(m.p)
	if d := decisions(fresh.Plan(m.now)); len(d) != 0 {
		m.rt.Fatalf("made anew behind the pass it decides more: %v", d)
	}
	m.compare(fresh)
	m.checkActions(actions)
	m.checkHosts()
	if err := m.p.Err(); err != nil {
		m.rt.Fatalf("the machine refused the planner: %v", err)
	}
}

// decisions are the actions that change something, as text.
func decisions(actions []Action) []string {
	var out []string
	for _, a := range actions {
		if _, told := a.(DeferDispatch); !told {
			out = append(out, describe(a))
		}
	}
	return out
}

// remade is a planner with the same facts, told in another order.
func remade(p *Planner) *Planner {
	q := NewPlanner(p.settings, p.startedAt, false)
	q.warmUntil, q.now = p.warmUntil, p.now
	var facts []func()
	facts = append(facts, func() { q.SetFleet(p.fleet) })
	for i := range p.hosts {
		h := &p.hosts[i]
		facts = append(facts, func() { q.SetHost(h.name, h.status) })
		for _, at := range h.slots {
			s, r := &at.rollout.slots[at.slot], at.rollout
			facts = append(facts, func() {
				if s.dispatch.State != NotDispatched {
					q.SetDispatch(h.name, r.id, r.channel, s.dispatch)
				}
				if s.cleared {
					q.SetCleared(h.name, r.id, r.channel)
				}
				if s.record != nil {
					q.SetRecord(s.record)
				}
			})
		}
	}
	for _, r := range p.rollouts {
		facts = append(facts, func() {
			if r.manifest != nil {
				q.SetManifest(r.manifest, p.newest(r))
			}
		}, func() {
			if r.rec.State != Unopened {
				q.SetRollout(r.rec)
			}
		})
	}
	for k := range p.quarantin {
		facts = append(facts, func() { q.SetQuarantine(k.channel, k.closure, true) })
	}
	rand.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	for _, tell := range facts {
		tell()
	}
	for i := range p.hosts {
		h := q.host(p.hosts[i].name)
		q.hosts[h].listedAt = p.hosts[i].listedAt
		q.refreshHost(h)
	}
	return q
}

// compare holds every count against that of a planner made anew.
func (m *model) compare(fresh *Planner) {
	if a, b := m.p.Budgets(), fresh.Budgets(); !slices.Equal(a, b) {
		m.rt.Fatalf("budgets %v, made anew %v", a, b)
	}
	for id, r := range m.p.rollouts {
		f := fresh.rollouts[id]
		if f == nil {
			if r.rec.State == Unopened {
				continue
			}
			m.rt.Fatalf("%s is missing", id)
		}
		if len(r.slots) == len(f.slots) && r.count != f.count || r.inFlight != f.inFlight || !slices.Equal(r.waves, f.waves) {
			m.rt.Fatalf("%s counts %v %v, made anew %v %v", id, r.count, r.waves, f.count, f.waves)
		}
	}
	for i := range m.p.hosts {
		h := &m.p.hosts[i]
		f := &fresh.hosts[fresh.hostOf[h.name]]
		if h.counted != f.counted || h.inFlight != f.inFlight || h.quiet != f.quiet || h.offline != f.offline {
			m.rt.Fatalf("%s is %+v, made anew %+v", h.name, *h, *f)
		}
		a, _ := m.p.Reason(h.name)
		b, _ := fresh.Reason(h.name)
		if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			m.rt.Fatalf("reason of %s\n  %+v\nmade anew\n  %+v", h.name, a, b)
		}
	}
}

// checkActions holds the decisions of a pass against the facts behind it.
func (m *model) checkActions(actions []Action) {
	queuedNow := map[string]bool{}
	for _, a := range actions {
		switch a := a.(type) {
		case QueueDispatch:
			m.checkQueued(a)
			queuedNow[a.Host] = true
		case AdvanceWave:
			m.checkWave(a.Rollout, a.From, false)
		case StepRollout:
			if _, ok := a.Event.(AllConverged); ok {
				for w := range a.Record.Waves {
					m.checkWave(a.Rollout, w, true)
				}
			}
		case OpenRollout, WithdrawDispatch, DeferDispatch:
		}
	}
	for _, g := range m.p.groups { // after a pass that let anyone go, its budgets hold
		let, inFlight := false, 0
		for i := range m.p.hosts {
			h := &m.p.hosts[i]
			if !slices.ContainsFunc(h.groups, func(g2 int32) bool { return m.p.groups[g2] == g }) {
				continue
			}
			if m.inFlight(h) {
				inFlight++
			}
			let = let || queuedNow[h.name] && h.inFlight == 1
		}
		if inFlight != int(g.inFlight) {
			m.rt.Fatalf("budget %s counts %d, there are %d", g.key, g.inFlight, inFlight)
		}
		if let && inFlight > int(g.limit) && !m.allUnheardBefore(queuedNow) {
			m.rt.Fatalf("budget %s: %d in flight, at most %d", g.key, inFlight, g.limit)
		}
	}
}

// checkWave holds the end of a wave against the records: every host that is not skipped is done, and one converged.
func (m *model) checkWave(id string, wave uint32, terminal bool) {
	r := m.p.rollouts[id]
	done := 0
	for _, e := range r.manifest.HostSet {
		if e.WaveIndex != wave {
			continue
		}
		h := &m.p.hosts[m.p.hostOf[e.Hostname]]
		_, i, _ := m.p.find(e.Hostname, id)
		s := &r.slots[i]
		switch rec := s.record; {
		case rec != nil && rec.SupersededBy == "" && rec.State == host.Converged:
			done++
		case rec != nil && rec.SupersededBy == "" && rec.State == host.Deferred && !terminal:
		case s.cleared, rec != nil && rec.SupersededBy != "", h.offline, h.channel == nil || h.channel.name != r.channel:
		default:
			m.rt.Fatalf("wave %d of %s ended and %s is not done: %+v", wave, id, e.Hostname, rec)
		}
	}
	if done == 0 && wave >= r.rec.WaivedWaves {
		m.rt.Fatalf("wave %d of %s ended and nobody converged", wave, id)
	}
}

// allUnheardBefore says whether every host let go counted already because it was not heard since the start.
func (m *model) allUnheardBefore(names map[string]bool) bool {
	for name := range names {
		if m.status[name].Heard {
			return false
		}
	}
	return true
}

// inFlight is the definition of docs/design/07-control-plane.md, from facts.
func (m *model) inFlight(h *hostState) bool {
	since := h.status.LastSeen
	if since.IsZero() {
		since = start
		if h.channel != nil && h.channel.newest != nil && !h.channel.newest.rec.OpenedAt.IsZero() {
			since = h.channel.newest.rec.OpenedAt
		}
	}
	if m.now.Sub(since) >= 24*time.Hour {
		return false
	}
	if !h.status.Heard {
		return true // the test's hosts are all listed from the start
	}
	for _, at := range h.slots {
		s := &at.rollout.slots[at.slot]
		rec := s.record
		switch {
		case rec == nil || rec.State == host.Pending:
			if s.dispatch.State != NotDispatched {
				return true
			}
		case rec.SupersededBy != "":
		case rec.State == host.Activating || rec.State == host.Soaking || rec.State == host.Failed && !s.cleared:
			return true
		}
	}
	return false
}

func (m *model) checkQueued(q QueueDispatch) {
	r := m.p.rollouts[q.Rollout]
	h := &m.p.hosts[m.p.hostOf[q.Host]]
	fail := func(why string) { m.rt.Fatalf("queued %s in %s: %s", q.Host, q.Rollout, why) }
	entry, ok := r.manifest.Find(q.Host)
	switch {
	case !ok || entry.WaveIndex != q.Wave || entry.TargetClosure != q.TargetClosure:
		fail("not what the manifest says")
	case !m.p.newest(r):
		fail("not the newest rollout of its channel")
	case q.Wave > r.rec.Wave:
		fail("its wave is not released")
	case r.rec.State.Halted():
		fail("halted")
	case h.status.Held != "":
		fail("held")
	case m.p.quarantin[quarantine{q.Channel, q.TargetClosure}]:
		fail("quarantined")
	case m.now.Sub(h.status.LastSeen) >= 3*time.Minute:
		fail("silent")
	}
	for _, at := range h.slots {
		if at.rollout != r && at.rollout.channel == r.channel && at.rollout.slots[at.slot].stand.phase.inFlight() && at.rollout.rec.State != Superseded {
			fail("in flight in " + at.rollout.id + ", which is not superseded")
		}
	}
	for i := range r.slots {
		rec := r.slots[i].record
		if rec != nil && rec.SupersededBy == "" && !r.slots[i].cleared && (rec.State == host.Failed || rec.State == host.Reverted) {
			fail("a host of it failed")
		}
	}
	for _, e := range m.p.fleet.Edges {
		if e.Gated != q.Host {
			continue
		}
		first := m.p.channels[m.channelOf(e.Gates)].newest
		if first == nil {
			continue
		}
		if _, i, ok := m.p.find(e.Gates, first.id); ok && first.slots[i].wave >= 0 {
			if st := first.slots[i].stand; st.phase != converged && !st.skip {
				fail(e.Gates + " goes first")
			}
		}
	}
	for _, e := range m.p.fleet.ChannelEdges {
		if first := m.p.channels[e.Gates]; e.Gated == q.Channel && first.newest != nil && first.newest.rec.State != Terminal {
			fail("channel " + e.Gates + " goes first")
		}
	}
}

// checkHosts: every host has progressed, is on its way, or waits for exactly one stated reason.
func (m *model) checkHosts() {
	for _, name := range m.names {
		why, ok := m.p.Reason(name)
		r := m.p.channels[m.channelOf(name)].newest
		if r == nil {
			if !ok || why.Gate != NoRollout {
				m.rt.Fatalf("%s has no rollout and the reason %+v", name, why)
			}
			continue
		}
		_, i, listed := m.p.find(name, r.id)
		done := listed && r.slots[i].stand.phase == converged
		if ok == done {
			m.rt.Fatalf("%s: reason %v, done %v", name, why, done)
		}
		if !ok {
			continue
		}
		if why.Text == "" || why.Unblocks == "" || why.Gate == Open {
			m.rt.Fatalf("%s has the empty reason %+v", name, why)
		}
		if listed && r.slots[i].stand.phase == idle && why.Gate == AwaitingHost {
			m.rt.Fatalf("%s could go and was not queued", name)
		}
		if !why.Earliest.IsZero() && !why.Earliest.After(m.now) {
			m.rt.Fatalf("%s: earliest %s is past", name, why.Earliest)
		}
	}
}
