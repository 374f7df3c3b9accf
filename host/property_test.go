package host_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nixfleet/host"
)

var (
	anyMode    = rapid.SampledFrom([]host.Mode{host.Enforce, host.Observe, host.Disabled})
	anyStatus  = rapid.SampledFrom([]host.Status{host.Pass, host.Fail})
	anyProbe   = rapid.SampledFrom([]string{"a", "b", "c", "current-system", "ä"})
	anyClosure = rapid.SampledFrom([]string{oldClosure, newClosure, otherClosure, ""})
	anyPolicy  = rapid.SampledFrom([]host.OnFailure{host.Halt, host.RollbackAndHalt})
)

// anyTime spans the soak of a minute on both sides, in steps coarse enough to meet.
func anyTime(t *rapid.T) time.Time {
	return t0.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "at")) * 7 * time.Second)
}

// anyEvent draws one event of any kind, plausible or not.
func anyEvent(t *rapid.T) host.Event {
	at := anyTime(t)
	switch rapid.SampledFrom(host.AllEvents).Draw(t, "kind").(type) {
	case host.Activate:
		return host.Activate{CurrentClosureAtDispatch: anyClosure.Draw(t, "prior"), ReceivedAt: at, PolicyHash: rapid.SampledFrom([]string{"", "5f70bf18"}).Draw(t, "hash")}
	case host.ActivationStarted:
		return host.ActivationStarted{StartedAt: at}
	case host.ActivationCompleted:
		return host.ActivationCompleted{ObservedCurrentClosure: anyClosure.Draw(t, "observed"), CompletedAt: at}
	case host.ActivationDeferred:
		return host.ActivationDeferred{Component: "systemd", DeferredAt: at}
	case host.ActivationFailed:
		return host.ActivationFailed{FailedAt: at}
	case host.ProbeTopologyDeclared:
		return host.ProbeTopologyDeclared{DeclaredAt: at, Probes: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) host.DeclaredProbe {
			return host.DeclaredProbe{ProbeName: anyProbe.Draw(t, "name"), Mode: anyMode.Draw(t, "mode")}
		}), 0, 4).Draw(t, "probes")}
	case host.ProbeObservedFirst:
		return host.ProbeObservedFirst{ProbeName: anyProbe.Draw(t, "name"), ObservedAt: at}
	case host.ProbeResult:
		return host.ProbeResult{
			ProbeName: anyProbe.Draw(t, "name"), Mode: anyMode.Draw(t, "mode"), Status: anyStatus.Draw(t, "status"),
			ObservedAt: at, FailureReason: "reason",
		}
	case host.ProbeFailureFirst:
		return host.ProbeFailureFirst{ProbeName: anyProbe.Draw(t, "name"), FirstFailedAt: at}
	case host.SustainedFailureCrossed:
		return host.SustainedFailureCrossed{FailedAt: at, PolicyApplied: anyPolicy.Draw(t, "policy")}
	case host.RollbackCompleted:
		return host.RollbackCompleted{RevertedToClosure: anyClosure.Draw(t, "to"), CompletedAt: at}
	case host.RollbackFailed:
		return host.RollbackFailed{FailedAt: at}
	case host.ConvergedReached:
		return host.ConvergedReached{ConvergedAt: at, CurrentClosure: anyClosure.Draw(t, "current")}
	}
	t.Fatal("a kind this generator does not know")
	return nil
}

// taken is one accepted event.
type taken struct {
	event host.Stamped
	after host.Record
}

// TestLongTracesKeepTheSafetyProperties walks from Pending by random events and asks of every step what must hold of
// any: purity, agreement of both sides, the invariants of the table, and that the accepted log makes the record again.
func TestLongTracesKeepTheSafetyProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policy()
		p.OnHealthFailure = anyPolicy.Draw(t, "onHealthFailure")
		r := pending()
		var log []taken
		for range rapid.IntRange(1, 60).Draw(t, "length") {
			in := host.Stamped{Origin: host.Local, Seq: r.LastEventSeq + uint64(rapid.IntRange(0, 2).Draw(t, "ahead")), Event: anyEvent(t)}
			next, ok := checkedStep(t, r, in, p)
			if ok {
				log = append(log, taken{in, next})
			}
			r = next
		}
		again := pending()
		for _, entry := range log {
			next, _, err := host.Step(again, entry.event, t0, p)
			if err != nil || !next.Equal(&entry.after) {
				t.Fatalf("replaying the accepted log: seq %d gave another record: %v", entry.event.Seq, err)
			}
			again = next
		}
	})
}

// fataler is what a rapid.T and a testing.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkedStep takes one event and fails the test if any property of a single step is broken.
func checkedStep(t fataler, r host.Record, in host.Stamped, p host.Policy) (host.Record, bool) {
	t.Helper()
	before := deepCopy(r)
	mirrorIn := in
	mirrorIn.Origin = host.Remote
	next, effects, err := host.Step(r, in, t0, p)
	later, sameEffects, sameErr := host.Step(r, in, t0.Add(time.Hour), p)
	mirror, mirrorEffects, mirrorErr := host.Step(r, mirrorIn, t0, p)
	switch {
	case !r.Equal(&before):
		t.Fatalf("%T changed the record it was given", in.Event)
	case !next.Equal(&later) || !reflect.DeepEqual(effects, sameEffects) || class(err) != class(sameErr):
		t.Fatalf("%T gave something else the second time, or by another now", in.Event)
	case !mirror.Equal(&next) || class(err) != class(mirrorErr):
		t.Fatalf("%T: the sides disagree: %v and %v", in.Event, err, mirrorErr)
	case err != nil && (!next.Equal(&r) || effects.Len() > 0 || mirrorEffects.Len() > 0):
		t.Fatalf("%T was refused, yet something changed", in.Event)
	case err != nil:
		return next, false
	case next.LastEventSeq != in.Seq || in.Seq <= r.LastEventSeq:
		t.Fatalf("%T with seq %d after %d gave lastEventSeq %d", in.Event, in.Seq, r.LastEventSeq, next.LastEventSeq)
	case r.State.Terminal():
		t.Fatalf("%T was accepted in terminal state %s", in.Event, r.State)
	case r.State == host.Failed && next.State != host.Failed && next.State != host.Reverted:
		t.Fatalf("%T led from Failed to %s", in.Event, next.State)
	}
	if err := host.Check(&next); err != nil {
		t.Fatalf("%T made a record that cannot be: %v", in.Event, err)
	}
	checkEffects(t, &r, &next, &effects)
	checkEffects(t, &r, &next, &mirrorEffects)
	return next, true
}

// checkEffects holds one step's effects to the table: first the emission, a transition exactly where the state
// changed, a rollback only to what ran at dispatch and only where it is owed, a switch only to the target.
func checkEffects(t fataler, old, cur *host.Record, effects *host.Effects) {
	t.Helper()
	rank, transitions := -1, 0
	for i, e := range effects.All() {
		if order := effectOrder(e); order <= rank || i == 0 && order != 0 {
			t.Fatalf("%T is out of order", e)
		} else {
			rank = order
		}
		switch e := e.(type) {
		case host.RecordTransition:
			transitions++
			if e.From != old.State || e.To != cur.State || e.Host != cur.Hostname {
				t.Fatalf("transition %+v, but the state went from %s to %s", e, old.State, cur.State)
			}
		case host.LocalFireSwitch:
			if e.Target != cur.TargetClosure || cur.State != host.Activating {
				t.Fatalf("a switch to %q fired in state %s", e.Target, cur.State)
			}
		case host.LocalFireRollbackTo:
			if !host.Owed(cur) || e.Closure != cur.CurrentClosureAtDispatch {
				t.Fatalf("a rollback to %q that is not owed", e.Closure)
			}
		case host.RemoteInsertQuarantine:
			if e.Closure != cur.TargetClosure || e.Channel != cur.Channel {
				t.Fatalf("quarantine of %+v", e)
			}
		case host.LocalResetProbeCache, host.LocalEmitEvent, host.RemoteAppendEventLog:
		case host.EmitMetric, host.EmitLog:
			t.Fatalf("Step made %T", e)
		}
	}
	if changed := old.State != cur.State; changed != (transitions == 1) {
		t.Fatalf("%d transitions from %s to %s", transitions, old.State, cur.State)
	}
}

// effectOrder is the place of an effect in the order of the design.
func effectOrder(e host.Effect) int {
	switch e.(type) {
	case host.LocalEmitEvent, host.RemoteAppendEventLog:
		return 0
	case host.RecordTransition:
		return 1
	case host.RemoteInsertQuarantine:
		return 2
	case host.LocalResetProbeCache, host.LocalFireSwitch, host.LocalFireRollbackTo:
		return 3
	case host.EmitMetric, host.EmitLog:
		return 4
	}
	return 5
}

func TestEveryKindButTheThreePerProbeIsDurable(t *testing.T) {
	perProbe := []string{"ProbeObservedFirst", "ProbeResult", "ProbeFailureFirst"}
	for _, row := range expected {
		r := inState(t, row.accepted[0])
		_, effects, err := host.Step(r, host.Stamped{Seq: r.LastEventSeq + 1, Event: row.event}, t0, policy())
		if err != nil {
			t.Fatal(err)
		}
		emitted, ok := effects.At(0).(host.LocalEmitEvent)
		if name := reflect.TypeOf(row.event).Name(); !ok || emitted.Durable == slices.Contains(perProbe, name) {
			t.Errorf("%s: emitted %v, durable %v", name, ok, emitted.Durable)
		}
	}
}
