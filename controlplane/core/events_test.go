package core_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// ready is a world with hosts a and b in waves of one, and a's dispatch delivered.
func ready(t *testing.T) (*world, string, *wire.Dispatch) {
	t.Helper()
	w := newWorld(t)
	id := w.publish("v1", true, "a", "b")
	w.documents()
	w.beat("b", nil)
	return w, id, w.dispatched("a")
}

func wants(t *testing.T, got wire.BatchResult, want string) {
	t.Helper()
	if d := describe(got); d != want {
		t.Errorf("answer %q, want %q", d, want)
	}
}

func TestTheSameEventTwiceIsStoredOnceAndAnsweredTwice(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, healthy(d, w.now)[:2])
	rows := len(w.rows)
	wants(t, w.send("a", id, 2, healthy(d, w.rows[len(w.rows)-1].At)[1]), "409 fork 2") // another time: another event
	wants(t, w.batch("a", w.received("a", id, 2, host.ActivationStarted{StartedAt: startOf(w), SwitchMethod: "m"}, nil))[0], "204  0")
	if len(w.rows) != rows {
		t.Errorf("%d rows more", len(w.rows)-rows)
	}
	w.check()
}

// startOf is when the host's switch started, as its event says.
func startOf(w *world) time.Time {
	for _, row := range w.rows {
		if row.Kind == "ActivationStarted" {
			e, err := wire.DecodeEnvelope(row.Payload)
			must(w.t, err)
			return e.Event.(host.ActivationStarted).StartedAt
		}
	}
	return time.Time{}
}

func TestADuplicateWithinOneBatchIsStoredOnce(t *testing.T) {
	w, id, d := ready(t)
	one := w.received("a", id, 1, ack(d, "old-closure", w.now), nil)
	results := w.batch("a", one, one)
	wants(t, results[0], "204  0")
	wants(t, results[1], "204  0")
	if got := w.state("a"); got != "Activating" {
		t.Errorf("a is %s", got)
	}
	w.check()
}

func TestAnotherEventUnderAStoredSeqIsAFork(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, healthy(d, w.now)[:3])
	wants(t, w.send("a", id, 2, host.ActivationStarted{StartedAt: w.now, SwitchMethod: "other"}), "409 fork 3")
}

func TestAMissingEventIsAGapUnlessTheHoleIsStated(t *testing.T) {
	w, id, d := ready(t)
	at := w.now
	w.tell("a", id, healthy(d, at)[:1])
	wants(t, w.send("a", id, 3, healthy(d, at)[1]), "409 gap 1")
	stated := w.received("a", id, 3, healthy(d, at)[1], func(e *wire.Envelope) { e.After, e.HasAfter = 1, true })
	wants(t, w.batch("a", stated)[0], "204  0")
	beyond := w.received("a", id, 9, healthy(d, at)[2], func(e *wire.Envelope) { e.After, e.HasAfter = 5, true })
	wants(t, w.batch("a", beyond)[0], "409 gap 3")
	wants(t, w.batch("a", w.received("a", id, 4, healthy(d, at)[2], func(e *wire.Envelope) { e.After, e.HasAfter = 4, true }))[0], "400 after 4 is not before seq 4 0")
	w.check()
}

func TestAnEventBelowTheLastThatWasNeverStoredIsKeptAsLate(t *testing.T) {
	w, id, d := ready(t)
	at := w.now
	w.tell("a", id, healthy(d, at)[:1])
	wants(t, w.batch("a", w.received("a", id, 3, healthy(d, at)[1], func(e *wire.Envelope) { e.After, e.HasAfter = 1, true }))[0], "204  0")
	wants(t, w.send("a", id, 2, host.ActivationStarted{StartedAt: at, SwitchMethod: "late"}), "204  0")
	if got := w.flags(); !slices.Equal(got, []string{"late"}) {
		t.Errorf("flags %v", got)
	}
	if got := w.why("a").Host; got.State != "Activating" || got.Held != "" {
		t.Errorf("a is %+v", got)
	}
	w.check()
}

func TestAnEventTheMirrorCannotFollowHoldsTheHostAndAsksForItsRecord(t *testing.T) {
	w, id, d := ready(t)
	at := w.now
	w.tell("a", id, healthy(d, at)[:2])
	wants(t, w.send("a", id, 3, host.ConvergedReached{ConvergedAt: at, CurrentClosure: d.TargetClosure}), "204  0")
	if got := w.flags(); !slices.Equal(got, []string{"diverged"}) {
		t.Errorf("flags %v", got)
	}
	if held := w.why("a").Host.Held; !strings.HasPrefix(held, "diverged: Converged: host: illegal") {
		t.Errorf("held %q", held)
	}
	if a := w.beat("a", nil); !slices.Equal(a.WantRecord, []string{id}) {
		t.Errorf("want_record %v", a.WantRecord)
	}
	w.check()
}

func TestAnAcknowledgementOfWhatTheTicketDoesNotSayDiverges(t *testing.T) {
	for name, change := range map[string]func(*host.Activate){
		"target": func(a *host.Activate) { a.TargetClosure = "other-closure" },
		"wave":   func(a *host.Activate) { a.Wave = 7 },
		"policy": func(a *host.Activate) { a.PolicyHash = strings.Repeat("0", 64) },
	} {
		t.Run(name, func(t *testing.T) {
			w, id, d := ready(t)
			event := ack(d, "old-closure", w.now)
			change(&event)
			wants(t, w.send("a", id, 1, event), "204  0")
			if got := w.flags(); !slices.Equal(got, []string{"diverged"}) {
				t.Errorf("flags %v", got)
			}
			if got := w.state("a"); got != "Pending" {
				t.Errorf("a is %s", got)
			}
			w.check()
		})
	}
}

func TestEventsOfAnUnknownRolloutWaitUntilItIsKnown(t *testing.T) {
	w := newWorld(t)
	id := w.publish("v1", false, "a")
	hidden := w.tickets
	w.tickets = nil
	d := &wire.Dispatch{Hostname: "a", RolloutID: id, TargetClosure: "v1-closure", EnqueuedAt: w.now, SoakDueAt: w.now}
	for _, v := range hidden {
		d.TicketHash = w.policiesOf(hidden)[v.Value().Hostname]
	}
	w.tell("a", id, healthy(d, w.now))
	if got := w.flags(); !slices.Equal(got, []string{"parked"}) {
		t.Errorf("flags %v", got)
	}
	if got := w.state("a"); got != "" {
		t.Errorf("a is %s before its rollout is known", got)
	}
	w.tickets = hidden
	w.documents()
	if got := w.state("a"); got != "Converged" {
		t.Errorf("a is %s", got)
	}
	w.check()
}

func TestAHostHasAtMostSixteenUnknownRollouts(t *testing.T) {
	w := newWorld(t)
	event := host.ActivationStarted{StartedAt: w.now}
	for i := range 16 {
		wants(t, w.send("a", "stable@u"+string(rune('a'+i)), 1, event), "204  0")
	}
	wants(t, w.send("a", "stable@more", 1, event), "429 16 rollouts are unknown here already 0")
	wants(t, w.send("a", "stable@ua", 2, event), "204  0")
	w.check()
}

func TestAfterAFailureInABatchAllOthersAreSkippedUnlessItIsADeadLetter(t *testing.T) {
	w, id, d := ready(t)
	at := w.now
	events := healthy(d, at)
	bad := core.Received{Refused: http.StatusBadRequest, Reason: "bad"}
	first, third := w.received("a", id, 1, events[0], nil), w.received("a", id, 3, events[1], nil)
	results := w.batch("a", first, bad, w.received("a", id, 2, events[1], nil), w.received("a", id, 9, events[2], nil), third)
	var got []string
	for _, r := range results {
		got = append(got, describe(r))
	}
	if want := []string{"204  0", "400 bad 0", "204  0", "409 gap 2", "0  0"}; !slices.Equal(got, want) {
		t.Errorf("results %q, want %q", got, want)
	}
	w.check()
}

func TestSeqZeroAndRolloutsWithoutANameAreBad(t *testing.T) {
	w, id, d := ready(t)
	wants(t, w.send("a", id, 0, ack(d, "x", w.now)), "400 seq 0: the first event of a rollout has seq 1 0")
	if r := w.send("a", "../x@y", 1, ack(d, "x", w.now)); r.Status != http.StatusBadRequest {
		t.Errorf("%+v", r)
	}
}

func TestAFailedCommitChangesNothing(t *testing.T) {
	w, id, d := ready(t)
	w.failing = true
	w.handle(core.Events{Host: "a", Received: []core.Received{w.received("a", id, 1, ack(d, "old-closure", w.now), nil)}})
	if got := w.state("a"); got != "Pending" {
		t.Errorf("a is %s after a commit that failed", got)
	}
	w.tell("a", id, healthy(d, w.now))
	if got := w.state("a"); got != "Converged" {
		t.Errorf("a is %s", got)
	}
	if w.poll("b", "") == nil {
		t.Error("b's turn did not come")
	}
	w.check()
}

func TestANewerAcknowledgementSupersedesWhatTheHostWasDoing(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, healthy(d, w.now)[:3])
	w.now = w.now.Add(time.Minute)
	next := w.publish("v2", true, "a", "b")
	w.documents()
	if got := w.rollout(id); got != rollout.Superseded {
		t.Errorf("%s is %s", id, got)
	}
	d2 := w.dispatched("a")
	w.tell("a", next, healthy(d2, w.now)[:1])
	r := w.send("a", id, 4, host.ProbeTopologyDeclared{DeclaredAt: w.now})
	wants(t, r, "204  0")
	if got := w.flags(); !slices.Equal(got, []string{"diverged"}) {
		t.Errorf("an event of the superseded rollout has flags %v", got)
	}
	w.check()
}

func TestARollbackHaltsTheRolloutAndQuarantinesItsClosure(t *testing.T) {
	w, id, d := ready(t)
	w.tell("a", id, broken(d, w.now))
	if got := w.rollout(id); got != rollout.Reverted {
		t.Errorf("%s is %s", id, got)
	}
	if !w.quarantined("v1-closure") {
		t.Error("no quarantine")
	}
	if w.poll("b", "") != nil {
		t.Error("b is dispatched all the same")
	}
	clearance := w.handle(core.Clear{RolloutID: id, By: "op"})[0].(core.StatusAnswer)
	if clearance.Status != http.StatusNoContent || w.rollout(id) != rollout.Active {
		t.Errorf("clearance: %+v, rollout %s", clearance, w.rollout(id))
	}
	if w.poll("b", "") != nil {
		t.Error("a clearance lifted the quarantine")
	}
	w.handle(core.ClearQuarantine{Channel: "stable", Closure: "v1-closure", By: "op"})
	w.beat("b", nil)
	if d := w.poll("b", ""); d != nil && d.RolloutID != id {
		t.Errorf("dispatch %+v", d)
	}
	w.check()
}
