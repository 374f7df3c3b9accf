package core_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// report sends the host's own record of a rollout.
func (w *world) report(name, rolloutID string, r *host.Record) core.StatusAnswer {
	w.t.Helper()
	m := wire.RecordMessage{Hostname: name, RolloutID: rolloutID, Record: r, Epoch: "e2", At: w.now}
	raw := m.Encode()
	canonical, err := ledger.Canonical(raw)
	must(w.t, err)
	return w.handle(core.RecordReport{Message: m, Raw: raw, Canonical: canonical, Signed: true})[0].(core.StatusAnswer)
}

// stepped is the record an agent has after those events.
func (w *world) stepped(name string, d *wire.Dispatch, events []host.Event) host.Record {
	w.t.Helper()
	v := w.tickets[core.TicketKey{RolloutID: d.RolloutID, Host: name}].Value()
	r := host.Record{
		RolloutID: d.RolloutID, Hostname: name, Channel: v.Channel, Wave: d.Wave, TargetClosure: d.TargetClosure, PolicyHash: d.TicketHash,
		DispatchedAt: d.EnqueuedAt, SoakDueAt: d.SoakDueAt,
	}
	for i, e := range events {
		next, _, err := host.Step(r, host.Stamped{Origin: host.Local, Seq: uint64(i + 1), Event: e}, w.now, v.HostPolicy())
		must(w.t, err)
		r = next
	}
	return r
}

func TestAWipedControlPlaneAsksForReplayAndRecovers(t *testing.T) {
	w, id, d := ready(t)
	events := healthy(d, w.now)
	w.tell("a", id, events)
	w.warmUp = 10 * time.Minute
	w.wipe()
	w.documents()
	w.beat("b", nil)
	a := w.beat("a", func(hb *wire.Heartbeat) {
		hb.LastEventSeq, hb.AckedSeq = map[string]uint64{id: 5}, map[string]uint64{id: 5}
	})
	if from, ok := a.ReplayFrom[id]; !ok || from != 0 {
		t.Fatalf("replay_from %v", a.ReplayFrom)
	}
	if w.poll("a", "") != nil || w.poll("b", "") != nil {
		t.Error("dispatches go out before the replay")
	}
	w.tell("a", id, events)
	if got := w.state("a"); got != "Converged" {
		t.Errorf("a is %s", got)
	}
	if a := w.beat("a", func(hb *wire.Heartbeat) {
		hb.LastEventSeq, hb.AckedSeq = map[string]uint64{id: 5}, map[string]uint64{id: 5}
	}); len(a.ReplayFrom) > 0 {
		t.Errorf("replay_from %v after the replay", a.ReplayFrom)
	}
	if w.poll("b", "") == nil {
		t.Errorf("b waits for nothing: %+v", w.why("b").Reason)
	}
	w.check()
}

func TestAQuarantineSurvivesAWipeByWhatHostsReport(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, broken(d, w.now))
	w.wipe()
	w.documents()
	w.beat("a", func(hb *wire.Heartbeat) {
		hb.Reverted = []wire.RevertedClosure{{Channel: "stable", Closure: "v1-closure"}, {Channel: "stable", Closure: "never-signed"}}
	})
	if !w.quarantined("v1-closure") {
		t.Error("the quarantine did not come back")
	}
	if w.quarantined("never-signed") {
		t.Error("a closure that no ticket names was quarantined")
	}
	w.beat("stranger", func(hb *wire.Heartbeat) {
		hb.Reverted = []wire.RevertedClosure{{Channel: "stable", Closure: "v1-closure"}}
	})
	w.handle(core.ClearQuarantine{Channel: "stable", Closure: "v1-closure", By: "op"})
	w.beat("a", func(hb *wire.Heartbeat) {
		hb.Reverted = []wire.RevertedClosure{{Channel: "stable", Closure: "v1-closure"}}
	})
	if w.quarantined("v1-closure") {
		t.Error("a heartbeat undid a clearance")
	}
	w.check()
}

func TestARestoredAgentDiskForksAndIsTakenBackByItsRecord(t *testing.T) {
	w, id, d := ready(t)
	events := healthy(d, w.now)
	w.tell("a", id, events[:4])
	// The disk is that of an hour ago: seq 3 is given out again for something else.
	again := host.ActivationCompleted{ObservedCurrentClosure: d.TargetClosure, CompletedAt: w.now.Add(time.Minute)}
	wants(t, w.send("a", id, 3, again), "409 fork 4")
	r := w.stepped("a", d, []host.Event{events[0], events[1], again})
	r.LastEventSeq = 5 // numbered on from 4
	if a := w.report("a", id, &r); a.Status != http.StatusNoContent {
		t.Fatalf("record: %+v", a)
	}
	if got := w.rows[len(w.rows)-1]; got.Kind != "RecordReported" || !slices.Equal(got.Flags.Names(), []string{"resync"}) {
		t.Errorf("row %s %v", got.Kind, got.Flags.Names())
	}
	wants(t, w.send("a", id, 6, host.ProbeTopologyDeclared{DeclaredAt: w.now}), "204  0")
	if got := w.why("a").Host; got.State != "Soaking" || got.Held != "" {
		t.Errorf("a is %+v", got)
	}
	w.check()
}

func TestARecordReleasesAHostThatDiverged(t *testing.T) {
	w, id, d := ready(t)
	at := w.now
	events := healthy(d, at)
	w.tell("a", id, events[:2])
	w.send("a", id, 3, host.ProbeTopologyDeclared{DeclaredAt: at})
	if w.why("a").Host.Held == "" {
		t.Fatal("not held")
	}
	r := w.stepped("a", d, events[:3])
	if a := w.report("a", id, &r); a.Status != http.StatusNoContent {
		t.Fatalf("record: %+v", a)
	}
	if got := w.why("a").Host; got.Held != "" || got.State != "Soaking" {
		t.Errorf("a is %+v", got)
	}
	if a := w.beat("a", nil); len(a.WantRecord) != 0 {
		t.Errorf("want_record %v", a.WantRecord)
	}
	w.check()
}

func TestARecordThatTheTicketDoesNotAllowIsRefused(t *testing.T) {
	for name, change := range map[string]func(*host.Record){
		"target":    func(r *host.Record) { r.TargetClosure, r.CurrentClosure = "other", "other" },
		"wave":      func(r *host.Record) { r.Wave++ },
		"policy":    func(r *host.Record) { r.PolicyHash = "x" },
		"invariant": func(r *host.Record) { r.CurrentClosure = "other" },
		"too early": func(r *host.Record) { r.SoakDueAt, r.ConvergedAt = r.ActivationCompletedAt, r.ActivationCompletedAt },
	} {
		t.Run(name, func(t *testing.T) {
			w, id, d := ready(t)
			r := w.stepped("a", d, healthy(d, w.now))
			change(&r)
			if a := w.report("a", id, &r); a.Status != http.StatusUnprocessableEntity || a.Reason == "" {
				t.Errorf("%+v", a)
			}
			if got := w.state("a"); got != "Pending" {
				t.Errorf("a is %s", got)
			}
		})
	}
	w, id, d := ready(t)
	r := w.stepped("a", d, healthy(d, w.now))
	if a := w.handle(core.RecordReport{Message: wire.RecordMessage{Hostname: "a", RolloutID: id, Record: &r}})[0].(core.StatusAnswer); a.Status != http.StatusForbidden {
		t.Errorf("unsigned: %+v", a)
	}
}

func TestAReportedFailureHaltsAndQuarantinesAndUndoesNoClearance(t *testing.T) {
	w, id, d := ready(t)
	r := w.stepped("a", d, broken(d, w.now))
	if a := w.report("a", id, &r); a.Status != http.StatusNoContent {
		t.Fatalf("%+v", a)
	}
	if w.rollout(id) != rollout.Reverted || !w.quarantined("v1-closure") {
		t.Errorf("rollout %s, quarantined %v", w.rollout(id), w.quarantined("v1-closure"))
	}
	w.handle(core.ClearQuarantine{Channel: "stable", Closure: "v1-closure", By: "op"})
	w.report("a", id, &r)
	if w.quarantined("v1-closure") {
		t.Error("a record undid a clearance")
	}
	w.check()
}

func TestANullRecordMeansPendingAgain(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, healthy(d, w.now)[:2])
	if a := w.report("a", id, nil); a.Status != http.StatusNoContent {
		t.Fatalf("%+v", a)
	}
	if got := w.state("a"); got != "Pending" {
		t.Errorf("a is %s", got)
	}
	d2 := w.dispatched("a")
	wants(t, w.send("a", id, 1, ack(d2, "old-closure", w.now)), "409 fork 2")
	wants(t, w.send("a", id, 3, ack(d2, "old-closure", w.now)), "204  0")
	if got := w.state("a"); got != "Activating" {
		t.Errorf("a is %s", got)
	}
	w.check()
}

func TestAWipedAgentGetsSnapshotsOfWhatConcernsItNow(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, healthy(d, w.now)[:3])
	a := w.beat("a", nil)
	if len(a.Bootstrap) != 1 || a.Bootstrap[0].RolloutID != id || a.Bootstrap[0].State != host.Soaking || a.Bootstrap[0].LastEventSeq != 3 {
		t.Errorf("bootstrap %+v", a.Bootstrap)
	}
	a = w.beat("a", func(hb *wire.Heartbeat) { hb.LastEventSeq = map[string]uint64{id: 3} })
	if len(a.Bootstrap) != 0 {
		t.Errorf("bootstrap of what the agent has: %+v", a.Bootstrap)
	}
}

func TestTwoMachinesWithOneIdentityAreHeldUntilOneAloneIsSeen(t *testing.T) {
	w, _, _ := ready(t)
	beat := func(instance string) { w.beat("a", func(hb *wire.Heartbeat) { hb.Instance = instance }) }
	beat("x")
	beat("y")
	if held := w.why("a").Host.Held; held != "" {
		t.Fatalf("held for a restart: %s", held)
	}
	beat("x")
	if held := w.why("a").Host.Held; !strings.HasPrefix(held, "clone: ") {
		t.Fatalf("held %q", held)
	}
	beat("y")
	w.now = w.now.Add(9 * time.Minute)
	beat("y")
	if held := w.why("a").Host.Held; held == "" {
		t.Fatal("released too early")
	}
	w.now = w.now.Add(2 * time.Minute)
	beat("y")
	if held := w.why("a").Host.Held; held != "" {
		t.Errorf("still held: %s", held)
	}
	beat("x")
	if w.why("a").Host.Held == "" {
		t.Error("a clone that comes back is not noticed")
	}
	if a := w.handle(core.Release{Host: "a", By: "op"})[0].(core.StatusAnswer); a.Status != http.StatusNoContent || w.why("a").Host.Held != "" {
		t.Errorf("an operator cannot release: %+v", a)
	}
	w.check()
}

func TestAnOlderHeartbeatIsIgnored(t *testing.T) {
	w, _, _ := ready(t)
	w.beat("a", func(hb *wire.Heartbeat) { hb.CurrentClosure = "new" })
	w.beat("a", func(hb *wire.Heartbeat) { hb.CurrentClosure, hb.At = "old", start })
	if got := w.why("a").Host.Current; got != "new" {
		t.Errorf("current %q", got)
	}
	// A clock that was a day ahead and is right again is not ignored for a day.
	w.beat("a", func(hb *wire.Heartbeat) { hb.CurrentClosure, hb.At = "ahead", w.now.Add(24*time.Hour) })
	w.beat("a", func(hb *wire.Heartbeat) { hb.CurrentClosure = "right" })
	if got := w.why("a").Host.Current; got != "right" {
		t.Errorf("current %q", got)
	}
}

func TestAnAgentOfTheOriginalIsFollowedByWhatItReports(t *testing.T) {
	w := newWorld(t)
	id := w.publish("v1", false, "a")
	w.documents()
	old := func(hb *wire.Heartbeat) { *hb = wire.Heartbeat{Hostname: "a", At: hb.At} }
	w.beat("a", old)
	d := w.poll("a", "")
	if d == nil {
		t.Fatal("no dispatch")
	}
	plain := func(e *wire.Envelope) { e.Epoch = "" }
	event := host.Activate{CurrentClosureAtDispatch: "old-closure", ReceivedAt: w.now}
	wants(t, w.batch("a", w.received("a", id, 1, event, plain))[0], "204  0")
	w.beat("a", func(hb *wire.Heartbeat) { old(hb); hb.CurrentClosure, hb.RolloutID = d.TargetClosure, id })
	if got := w.state("a"); got != "Soaking" {
		t.Fatalf("a is %s", got)
	}
	if last := w.rows[len(w.rows)-1]; !slices.Equal(last.Flags.Names(), []string{"synthesized"}) || last.EventSeq != 0 {
		t.Errorf("row %s %v", last.Kind, last.Flags.Names())
	}
	done := host.ActivationCompleted{ObservedCurrentClosure: d.TargetClosure, CompletedAt: w.now}
	wants(t, w.batch("a", w.received("a", id, 2, done, plain))[0], "204  0")
	wants(t, w.batch("a", w.received("a", id, 4, host.ProbeTopologyDeclared{DeclaredAt: w.now}, plain))[0], "204  0")
	if got := w.flags(); !slices.Equal(got, []string{"diverged"}) {
		t.Errorf("a gap of an original has flags %v", got)
	}
	w.check()
}

func TestADispatchThatWasNeverDeliveredIsWithdrawnFromASilentHost(t *testing.T) {
	w := newWorld(t)
	id := w.publish("v1", false, "a")
	w.documents()
	w.beat("a", nil)
	if got := w.state("a"); got != "Pending" {
		t.Fatalf("a is %s", got)
	}
	w.now = w.now.Add(4 * time.Minute)
	w.handle(core.Tick{})
	if w.poll("a", "") != nil {
		t.Error("delivered to a host silent for four minutes")
	}
	if last := w.rows[len(w.rows)-1]; last.Kind != "DispatchWithdrawn" {
		t.Errorf("last row %s", last.Kind)
	}
	d := w.dispatched("a")
	w.tell("a", id, healthy(d, w.now))
	w.check()
}

func TestAPrunedRolloutIsForgottenAndItsEventsAreStillKnownFromTheLog(t *testing.T) {
	w, id, d := ready(t)
	events := healthy(d, w.now)
	w.tell("a", id, events)
	w.now = w.now.Add(time.Minute)
	w.publish("v2", true, "a", "b")
	w.documents()
	w.dispatched("a")
	w.beat("b", nil)
	w.now = w.now.Add(31 * 24 * time.Hour)
	w.handle(core.Tick{})
	if got := w.rollout(id); got != rollout.Unopened {
		t.Fatalf("%s is %s", id, got)
	}
	w.tell("a", id, events) // a replay: duplicates, all of them
	wants(t, w.send("a", id, 2, host.ActivationStarted{StartedAt: w.now, SwitchMethod: "other"}), "409 fork 2")
	w.check()
}
