package core_test

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nixfleet/controlplane/core"
	"nixfleet/host"
	"nixfleet/wire"
)

// However a network repeats, drops and reorders, and however often the control plane is restored to nothing or fails
// to commit: an agent that does what the answers say ends with every event stored once and the mirror equal to its own
// record.
func TestWhateverTheNetworkDoesTheMirrorEndsAsTheAgentsRecord(t *testing.T) {
	w, id, d := ready(t)
	base := w.now
	rapid.Check(t, func(rt *rapid.T) {
		w.wipe()
		w.now = base.Add(time.Hour)
		w.documents()
		events := story(rt, d, base)
		deliver(rt, w, id, events)
		want := w.stepped("a", d, events)
		got := w.core.Mirror("a", id)
		if got == nil || !got.Equal(&want) {
			rt.Fatalf("mirror %+v\nagent  %+v", got, want)
		}
		seen := map[uint64]int{}
		for _, row := range w.rows {
			seen[row.EventSeq]++
			if row.EventSeq != 0 && row.Flags != 0 {
				rt.Fatalf("row %d has flags %v", row.Seq, row.Flags.Names())
			}
		}
		for i := range events {
			if seen[uint64(i+1)] != 1 {
				rt.Fatalf("seq %d is stored %d times", i+1, seen[uint64(i+1)])
			}
		}
		w.check()
	})
}

// story is what a host may go through.
func story(rt *rapid.T, d *wire.Dispatch, at time.Time) []host.Event {
	if rapid.Bool().Draw(rt, "broken") {
		return broken(d, at)
	}
	events := healthy(d, at)
	converged := events[len(events)-1]
	events = events[:len(events)-1]
	for range rapid.IntRange(0, 12).Draw(rt, "results") {
		status := host.Status(rapid.IntRange(0, 1).Draw(rt, "status"))
		reason := ""
		if status == host.Fail {
			reason = "no"
		}
		events = append(events, host.ProbeResult{ProbeName: "p", Mode: host.Observe, Status: status, ObservedAt: at, FailureReason: reason})
	}
	return append(events, converged)
}

// deliver is an agent on a bad network: it goes on from what it believes acknowledged.
func deliver(rt *rapid.T, w *world, id string, events []host.Event) {
	acked, wiped := 0, false
	for step := 0; acked < len(events); step++ {
		if step > 1000 {
			rt.Fatalf("still at %d of %d", acked, len(events))
		}
		at := acked
		action := rapid.SampledFrom([]string{"send", "send", "send", "again", "ahead", "lost", "fail", "wipe"}).Draw(rt, "action")
		switch action {
		case "again":
			at = rapid.IntRange(0, acked).Draw(rt, "which")
		case "ahead":
			at = rapid.IntRange(acked, len(events)-1).Draw(rt, "which")
		case "fail":
			w.failing = true
			w.handle(core.Events{Host: "a", Received: []core.Received{w.received("a", id, uint64(at+1), events[at], nil)}})
			continue
		case "wipe":
			if wiped || rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
				continue
			}
			wiped = true
			w.wipe()
			w.documents()
			a := w.beat("a", func(hb *wire.Heartbeat) { hb.AckedSeq = map[string]uint64{id: uint64(acked)} })
			if from, ok := a.ReplayFrom[id]; ok {
				acked = int(from)
			}
			continue
		}
		r := w.send("a", id, uint64(at+1), events[at])
		switch {
		case action == "lost": // the answer never came
		case r.Status == http.StatusNoContent && at == acked:
			acked++
		case r.Status == http.StatusNoContent:
		case r.Status == http.StatusConflict && r.Error == wire.ErrorGap:
			acked = int(r.ReplayFrom)
		default:
			rt.Fatalf("%s of %d: %+v", action, at+1, r)
		}
	}
}
