package rollout

import (
	"fmt"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
)

// benchWorld is a channel of n hosts in a canary wave of 10 and two waves of the rest, with a budget of a tenth, all heard. The first
// wave is done, so that half the fleet may go.
func benchWorld(b *testing.B, n int) *world {
	w := newWorld(b)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("host-%06d", i)
		w.addHost(names[i], "stable")
	}
	w.addBudget(map[string]any{"all": true}, "maxInFlightPct", 10)
	w.p.SetFleet(w.parseFleet())
	w.p.SetManifest(w.manifest("stable@r1", "v1", [][]string{names[:10], names[10 : n/2], names[n/2:]}), true)
	for _, name := range names {
		w.heard(name)
	}
	w.p.Plan(w.now)
	for _, name := range names[:10] {
		w.record(name, "stable@r1", host.Converged, nil)
	}
	return w
}

// BenchmarkPlan measures a pass. event: one host converged and makes room for one other. full: every host that may
// go is looked at and a tenth of the fleet queued. blocked: every host that may go is looked at and none is queued.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprintf("event/hosts=%d", n), func(b *testing.B) { benchEvent(b, n) })
		b.Run(fmt.Sprintf("full/hosts=%d", n), func(b *testing.B) { benchFull(b, n) })
		b.Run(fmt.Sprintf("blocked/hosts=%d", n), func(b *testing.B) { benchBlocked(b, n) })
		b.Run(fmt.Sprintf("heartbeat/hosts=%d", n), func(b *testing.B) { benchHeartbeat(b, n) })
		b.Run(fmt.Sprintf("start/hosts=%d", n), func(b *testing.B) { benchStart(b, n) })
	}
}

func benchEvent(b *testing.B, n int) {
	w := benchWorld(b, n)
	w.p.Plan(w.now)
	r := w.p.rollouts["stable@r1"]
	done := &host.Record{State: host.Converged, RolloutID: r.id, Channel: r.channel, LastEventSeq: 9}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		i := r.issued.next(0, len(r.slots))
		rec := *done
		rec.Hostname = w.p.hosts[r.slots[i].host].name
		w.p.Begin()
		w.p.SetRecord(&rec)
		queued := len(w.p.Plan(w.now))
		w.p.Commit()
		if queued != 1 {
			b.StopTimer() // the wave is used up
			w = benchWorld(b, n)
			w.p.Plan(w.now)
			r = w.p.rollouts["stable@r1"]
			b.StartTimer()
		}
	}
}

func benchFull(b *testing.B, n int) {
	w := benchWorld(b, n)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		w.p.Begin()
		if queued := len(w.p.Plan(w.now)); queued < n/10 {
			b.Fatal(queued)
		}
		b.StopTimer()
		w.p.Rollback()
		b.StartTimer()
	}
}

func benchBlocked(b *testing.B, n int) {
	w := benchWorld(b, n)
	w.p.Plan(w.now)
	r := w.p.rollouts["stable@r1"]
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r.lookAtAll()
		if decided := len(w.p.Plan(w.now)); decided != 0 {
			b.Fatal(decided)
		}
	}
}

func benchHeartbeat(b *testing.B, n int) {
	w := benchWorld(b, n)
	w.p.Plan(w.now)
	now := w.now
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		now = now.Add(time.Microsecond)
		w.p.Begin()
		w.p.SetHost(w.p.hosts[i%n].name, HostStatus{LastSeen: now, Heard: true})
		w.p.Plan(now)
		w.p.Commit()
	}
}

func benchStart(b *testing.B, n int) {
	w := benchWorld(b, n)
	f := w.parseFleet()
	m := w.p.rollouts["stable@r1"].manifest
	w.p.Plan(w.now)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		startOver(w.p, f, m)
	}
}

// startOver tells a new planner what the store has.
func startOver(p *Planner, f *fleet.Fleet, m *fleet.Manifest) *Planner {
	q := NewPlanner(p.settings, p.startedAt, false)
	q.SetFleet(f)
	q.SetManifest(m, true)
	q.SetRollout(p.rollouts[m.ID().String()].rec)
	for i := range p.hosts {
		h := &p.hosts[i]
		q.SetHost(h.name, h.status)
		for _, at := range h.slots {
			if s := &at.rollout.slots[at.slot]; s.dispatch.State != NotDispatched {
				q.SetDispatch(h.name, at.rollout.id, at.rollout.channel, s.dispatch)
			}
		}
	}
	q.Plan(p.now)
	return q
}
