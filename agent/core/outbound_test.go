package core

import (
	"testing"
	"time"

	"nixfleet/host"
	"nixfleet/trust"
	"nixfleet/wire"
)

func TestAcksRideInTheNextFrame(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	frames := len(b.frames)
	b.must(Acked{RolloutID: r1, Seq: 1})
	if len(b.frames) != frames {
		t.Fatal("an ack made a frame")
	}
	if v := b.core.View(); v.Outbound[r1].Acked != 1 || v.Depth != 0 {
		t.Fatalf("%+v", v)
	}
	b.switched(r1, v2)
	b.reopen()
	if v := b.core.View(); v.Outbound[r1].Acked != 1 || v.Depth != 3 {
		t.Fatalf("%+v", v)
	}
}

func TestAReplayOwesAgainDeadLettersIncluded(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.must(Acked{RolloutID: r1, Seq: 2})
	b.must(DeadLetter{RolloutID: r1, Seq: 3, Status: 422, Reason: "bad"})
	b.must(Scanned{Cursor: Place{Segment: 2, Offset: 9}})
	if v := b.core.View(); v.Refused != 1 || v.Outbound[r1].Done != 3 || v.Outbound[r1].Acked != 2 {
		t.Fatalf("%+v", v)
	}
	b.must(ReplayFrom{RolloutID: r1, From: 1})
	if v := b.core.View(); v.Refused != 0 || v.Outbound[r1].Done != 1 || v.Cursor != (Place{}) || v.Depth != 3 {
		t.Fatalf("%+v", v)
	}
	b.refused(Scanned{From: Place{Segment: 2, Offset: 9}, Cursor: Place{Segment: 3}}, ErrRefused)
}

func TestAForkNumbersOnAndOffersTheRecord(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.must(Fork{RolloutID: r1, Stored: 40, Epoch: "epoch-9"})
	v := b.core.View()
	if v.Epoch != "epoch-9" || len(v.Records) != 1 || v.Records[0].Record == nil || v.Records[0].Epoch != "epoch-9" {
		t.Fatalf("%+v", v)
	}
	b.event(r1, host.ActivationStarted{StartedAt: b.now.Wall})
	if r := b.core.Records()[r1]; r.LastEventSeq != 41 {
		t.Fatalf("%+v", r)
	}
	b.reopen()
	if b.core.View().Epoch != "epoch-9" {
		t.Fatal("the epoch is lost")
	}
	b.must(RecordSent{RolloutID: r1})
	if len(b.core.View().Records) != 0 {
		t.Fatal("the record is still offered")
	}
	b.must(WantRecord{RolloutID: "stable@unknown"})
	if v := b.core.View(); len(v.Records) != 1 || v.Records[0].Record != nil {
		t.Fatalf("%+v", v.Records)
	}
}

func TestEventsOfAFrameAreTheExactBytes(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	events, err := EventsOf(b.frames[0])
	if err != nil || len(events) != 1 || events[0].Kind != "DispatchAck" || events[0].Seq != 1 || events[0].RolloutID != r1 {
		t.Fatal(events, err)
	}
	if _, _, err := wire.DecodeEvent(events[0].Raw); err != nil {
		t.Fatal(err)
	}
}

func TestCoalescingDropsSupersededResultsOnly(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	for range 5 {
		b.probe(r1, host.Pass)
		b.pass(time.Second)
	}
	latest := NewLatest()
	for _, f := range b.frames {
		latest.Note(f)
	}
	var kept []uint64
	for _, f := range b.frames {
		out, keep, err := latest.Coalesce(f, func(_ string, seq uint64) bool { return seq != 6 })
		if err != nil {
			t.Fatal(err)
		}
		if keep {
			events, err := EventsOf(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				kept = append(kept, e.Seq)
			}
		}
	}
	if want := []uint64{1, 2, 3, 4, 6, 9}; len(kept) != len(want) || kept[4] != 6 || kept[5] != 9 {
		t.Fatalf("kept %v, want %v", kept, want)
	}
}

func snapshotOf(b *bed, id string) Adoption {
	rec := b.core.Records()[id]
	ticket, err := b.ticket(id, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return Adoption{Snapshot: wire.SnapshotOf(&rec), Ticket: ticket}
}

// wiped is the same host with an empty state directory.
func (b *bed) wiped() *bed {
	w := newBed(b.t)
	w.now, w.runs = b.now, b.runs
	return w
}

func TestAWipedHostAdoptsASoakAndSoaksAnew(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Pass)
	b.pass(50 * time.Second)
	w := b.wiped()
	w.must(BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: w.reading(), Pinned: []string{v1}})
	r := w.state(r1, host.Soaking)
	if r.CurrentClosureAtDispatch != v1 || r.Declared != nil || r.LastEventSeq != 5 {
		t.Fatalf("%+v", r)
	}
	w.event(r1, host.ProbeTopologyDeclared{Probes: []host.DeclaredProbe{}, DeclaredAt: w.now.Wall})
	w.pass(59 * time.Second)
	w.tick()
	w.state(r1, host.Soaking)
	w.pass(2 * time.Second)
	w.tick()
	w.state(r1, host.Converged)
	w.reopen()
}

func TestAdoptionNeverOwesARollback(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	w := b.wiped()
	w.runs = v3
	w.must(BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: w.reading(), Pinned: []string{v1}})
	w.pass(time.Second)
	w.tick()
	w.state(r1, host.Failed)
	if w.core.View().Intent != nil {
		t.Fatal("a rollback is owed")
	}
	b.runs = v1
	b.pass(time.Second)
	b.tick()
	b.state(r1, host.Failed)
	w = b.wiped()
	w.must(BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: w.reading(), Pinned: []string{v1}})
	w.state(r1, host.Failed)
	if w.core.View().Intent != nil {
		t.Fatal("a rollback is owed")
	}
}

func TestASnapshotThatDisagreesIsNotAdopted(t *testing.T) {
	b := convergedBed(t)
	for name, change := range map[string]func(w *bed, in *BootstrapHost){
		"another target":  func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.TargetClosure = v3 },
		"another wave":    func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.Wave = 3 },
		"another host":    func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.Hostname = "db-1" },
		"seq too high":    func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.LastEventSeq = 1 << 53 },
		"runs another":    func(w *bed, in *BootstrapHost) { w.runs = v1; in.Current = w.reading() },
		"cannot be read":  func(_ *bed, in *BootstrapHost) { in.Current.Closure = "" },
		"never accepted":  func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.State = host.Pending },
		"no ticket":       func(w *bed, in *BootstrapHost) { in.Adoptions[0].Ticket = w.noTicket() },
		"another policy":  func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.PolicyHash = "00" },
		"another rollout": func(_ *bed, in *BootstrapHost) { in.Adoptions[0].Snapshot.RolloutID = r2 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newBed(t)
			w.now, w.runs = b.now, b.runs
			in := BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: w.reading()}
			in.Adoptions[0].Snapshot.HasWave = true
			change(w, &in)
			w.refused(in, ErrRefused)
		})
	}
}

func TestASnapshotNeverChangesARecordTheAgentHas(t *testing.T) {
	b := convergedBed(t)
	b.refused(BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: b.reading()}, ErrNotAdopting)
}

func TestAnAdoptedActivationIsANewDispatchWithEveryCheck(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	w := b.wiped()
	w.must(BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: w.reading()})
	w.state(r1, host.Activating)
	if in := w.intent(); in.Closure != v2 || in.Prior != "" {
		t.Fatalf("%+v", in)
	}
	w = b.wiped()
	in := BootstrapHost{Adoptions: []Adoption{snapshotOf(b, r1)}, Current: w.reading()}
	w.pass(2 * time.Hour)
	w.refused(in, trust.ErrStale)
}
