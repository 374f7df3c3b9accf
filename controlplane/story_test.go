package controlplane_test

import (
	"slices"
	"testing"
	"time"
)

func TestACanaryGoesFirstAndTheOthersFollowWhenItHasConverged(t *testing.T) {
	s := newSite(t, "a", "b")
	id := s.publish("v1", "a")
	s.start()
	a, b := s.machines["a"], s.machines["b"]
	a.beat(nil)
	b.beat(nil)
	d, ok := a.poll("wait=20")
	if !ok || d.RolloutID != id || d.TargetClosure != "v1-closure" || d.TicketHash == "" {
		t.Fatalf("dispatch of a: %+v %v", d, ok)
	}
	if d, ok := b.poll("wait=0"); ok {
		t.Fatalf("b is dispatched with its canary: %+v", d)
	}
	a.switchTo(d, "v0-closure")
	d, ok = b.poll("wait=20")
	if !ok || d.Wave != 1 {
		t.Fatalf("dispatch of b: %+v %v", d, ok)
	}
	b.switchTo(d, "v0-closure")
	if got := s.rolloutState(id); got != "Terminal" {
		t.Errorf("rollout is %s", got)
	}
	want := []string{"DispatchQueued", "DispatchWritten", "DispatchAck", "ActivationStarted", "ActivationCompleted", "ProbeTopologyDeclared", "Converged"}
	if got := s.rows("a"); !slices.Equal(got, want) {
		t.Errorf("log of a: %v", got)
	}
}

func TestABrokenReleaseStopsAtItsCanaryAndIsQuarantined(t *testing.T) {
	s := newSite(t, "a", "b")
	id := s.publish("v2", "a")
	s.start()
	a, b := s.machines["a"], s.machines["b"]
	a.beat(nil)
	b.beat(nil)
	d, _ := a.poll("wait=20")
	a.fail(d, "v1-closure")
	if got := s.rolloutState(id); got != "Reverted" {
		t.Errorf("rollout is %s", got)
	}
	if d, ok := b.poll("wait=0"); ok {
		t.Errorf("b is dispatched: %+v", d)
	}
	quarantines := s.ask("quarantines")["quarantines"].([]any)
	if len(quarantines) != 1 || quarantines[0].(map[string]any)["closure"] != "v2-closure" {
		t.Errorf("quarantines: %v", quarantines)
	}
	why := s.ask("why/b")["reason"].(map[string]any)
	if why["gate"] != "quarantine" {
		t.Errorf("why b: %v", why)
	}
}

func TestALostDispatchIsServedAgainAndOneThatIsHeldIsNot(t *testing.T) {
	s := newSite(t, "a")
	id := s.publish("v1")
	s.start()
	a := s.machines["a"]
	a.beat(nil)
	first, _ := a.poll("wait=20")
	second, ok := a.poll("wait=20")
	if !ok || first != second {
		t.Errorf("served again: %+v %v, first was %+v", second, ok, first)
	}
	if d, ok := a.poll("wait=0&have=" + id); ok {
		t.Errorf("served although held: %+v", d)
	}
	a.accept(first, "v0-closure")
	if d, ok := a.poll("wait=0"); ok {
		t.Errorf("served after its acknowledgement: %+v", d)
	}
}

func TestARestartedControlPlaneGoesOnWhereItWas(t *testing.T) {
	s := newSite(t, "a", "b")
	s.planner.HeartbeatInterval = 1 // warm-up of three of them
	s.publish("v1", "a")
	s.start()
	a, b := s.machines["a"], s.machines["b"]
	a.beat(nil)
	if _, ok := a.poll("wait=0"); ok {
		t.Fatal("a host that is silent for three nanoseconds was dispatched")
	}
	must(t, s.shutdown())
	s.planner.HeartbeatInterval = time.Minute
	s.start()
	a.beat(nil)
	b.beat(nil)
	d, ok := a.poll("wait=20")
	if !ok {
		t.Fatal("no dispatch after the restart")
	}
	must(t, s.shutdown())
	s.start()
	a.beat(nil)
	b.beat(nil)
	a.switchTo(d, "v0-closure")
	if _, ok := b.poll("wait=20"); !ok {
		t.Fatal("the second wave did not follow")
	}
}
