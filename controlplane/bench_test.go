package controlplane_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// BenchmarkEvents is the whole way of signed events: real TLS, verification, reducer and SQLite with a sync per
// commit, with the clients on the same machine. Signing is done beforehand.
func BenchmarkEvents(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) { benchmarkEvents(b, size, 16) })
	}
}

func benchmarkEvents(b *testing.B, size, hosts int) {
	names := make([]string, hosts)
	for i := range names {
		names[i] = fmt.Sprintf("h%02d", i)
	}
	s := newSite(b, names...)
	s.publish("v1")
	s.start()
	posts := make([][][]byte, hosts)
	perHost := (b.N + hosts - 1) / hosts
	for i, name := range names {
		m := s.machines[name]
		m.beat(nil)
		d, ok := m.poll("wait=20")
		if !ok {
			b.Fatal("no dispatch")
		}
		m.accept(d, "v0-closure")
		m.send(d.RolloutID, host.ActivationStarted{StartedAt: now()})
		m.send(d.RolloutID, host.ActivationCompleted{ObservedCurrentClosure: d.TargetClosure, CompletedAt: now()})
		m.send(d.RolloutID, host.ProbeTopologyDeclared{DeclaredAt: now()})
		for range perHost {
			var list [][]byte
			for range size {
				list = append(list, m.envelope(d.RolloutID, host.ProbeResult{ProbeName: "http", Mode: host.Enforce, ObservedAt: now()}))
			}
			if size == 1 {
				posts[i] = append(posts[i], list[0])
				continue
			}
			posts[i] = append(posts[i], wire.AppendBatch(nil, list))
		}
	}
	path, want := wire.PathBatch, http.StatusOK
	if size == 1 {
		path, want = wire.PathEvents, http.StatusNoContent
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	var bad atomic.Int64
	for i, name := range names {
		wg.Go(func() {
			for _, body := range posts[i] {
				if status, _, _ := s.call(s.machines[name].client, "POST", path, body); status != want {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if bad.Load() > 0 {
		b.Fatalf("%d posts were not stored", bad.Load())
	}
	b.ReportMetric(float64(perHost*hosts*size)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkReducer is the same without network and signatures: core and SQLite alone, for fleets of several sizes. The
// cost of an event must not grow with the fleet.
func BenchmarkReducer(b *testing.B) {
	for _, hosts := range []int{100, 10_000, 50_000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) { benchmarkReducer(b, hosts) })
	}
}

func benchmarkReducer(b *testing.B, hosts int) {
	db, err := store.OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "cp.db"), quietLogger(&site{}))
	must(b, err)
	at := time.Now().UTC()
	c, err := core.New(soaking(hosts, at), rollout.DefaultSettings(), at)
	must(b, err)
	run := func(inputs ...core.Input) {
		commit, err := c.Handle(inputs, core.Recalled{}, now())
		must(b, err)
		must(b, db.Commit(b.Context(), &commit.Ledger))
		c.Applied(commit)
		for _, r := range commit.Answers[0].(core.EventsAnswer).Results {
			if r.Status != http.StatusNoContent {
				b.Fatalf("%+v", r)
			}
		}
	}
	seqs := make([]uint64, hosts)
	const size = 64
	next := 0
	b.ResetTimer()
	for b.Loop() {
		name := fmt.Sprintf("h%06d", next%hosts)
		in := core.Events{Host: name, Received: make([]core.Received, size)}
		for i := range in.Received {
			seqs[next%hosts]++
			e := wire.Envelope{Hostname: name, RolloutID: "stable@r", Kind: "ProbeResult", Seq: seqs[next%hosts], Epoch: "e", Event: host.ProbeResult{ProbeName: "p", ObservedAt: at}}
			raw := e.Append(nil)
			in.Received[i] = core.Received{Envelope: e, Raw: raw, Canonical: raw}
		}
		run(in)
		next += 7 // hosts in an order that no cache likes
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
	must(b, db.Close())
}

// soaking is what a store has of a fleet that is all in the middle of one rollout.
func soaking(hosts int, at time.Time) *ledger.Image {
	policy := host.Policy{OnHealthFailure: host.RollbackAndHalt, HasSoak: true, SoakSeconds: 3600, SustainedFailureSeconds: 120, ActivationTimeoutSeconds: 600}
	image := &ledger.Image{Policies: []ledger.Policy{{Hash: "p", Body: wire.AppendPolicy(nil, &policy)}}}
	for i := range hosts {
		r := host.Record{
			RolloutID: "stable@r", Hostname: fmt.Sprintf("h%06d", i), Channel: "stable", State: host.Soaking, TargetClosure: "new", CurrentClosure: "new",
			CurrentClosureAtDispatch: "old", PolicyHash: "p", DispatchedAt: at, DispatchAckedAt: at, ActivationStartedAt: at, ActivationCompletedAt: at, SoakDueAt: at,
			Declared: []host.Declaration{{Name: "p", Mode: host.Enforce}},
		}
		image.Records = append(image.Records, ledger.RecordView{Host: r.Hostname, RolloutID: r.RolloutID, State: "Soaking", Record: wire.AppendRecord(nil, &r)})
	}
	return image
}

// BenchmarkStart is what a restart costs: reading the store and making the core of it. It also says what a host takes
// in memory there, connections not counted.
func BenchmarkStart(b *testing.B) {
	const hosts = 100_000
	path := filepath.Join(b.TempDir(), "cp.db")
	db, err := store.OpenSQLite(b.Context(), path, quietLogger(&site{}))
	must(b, err)
	at := time.Now().UTC()
	image := soaking(hosts, at)
	must(b, db.Commit(b.Context(), &ledger.Commit{Records: image.Records, Policies: image.Policies}))
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		image, err := db.Load(b.Context())
		must(b, err)
		c, err := core.New(image, rollout.DefaultSettings(), at)
		must(b, err)
		image = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(c)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/hosts, "B/host")
	must(b, db.Close())
}
