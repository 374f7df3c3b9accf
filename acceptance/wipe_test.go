package acceptance_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"nixfleet/host"
	"nixfleet/internal/fleettest"
)

func TestAControlPlaneThatIsWipedInMidRolloutHealsWithoutAHumanAndKeepsTheQuarantine(t *testing.T) {
	t.Parallel()
	s, v1 := settled(t, "a", "b")
	a, b := s.Host("a"), s.Host("b")
	broken := s.BuildBroken("v2")
	bad := s.Publish(fleettest.Release{Ref: "v2", Closure: broken, First: []string{"a"}, Soak: 5})
	s.UntilRollout(bad, "Reverted")
	v3 := s.Build("v3")
	good := s.Publish(fleettest.Release{Ref: "v3", Closure: v3, First: []string{"a"}, Soak: 4})
	a.UntilState(good, host.Soaking)
	untilLogged(a, s, good, "ProbeResult")

	s.StopControlPlane()
	s.WipeControlPlane()
	s.StartControlPlane()
	s.UntilRollout(good, "Terminal")
	for _, h := range []*fleettest.Host{a, b} {
		if got := h.Runs(); got != v3 {
			t.Errorf("%s runs %s, want %s", h.Name, got, v3)
		}
		h.UntilMirrored()
	}
	a.UntilLoggedInAnyOrder()
	if got := quarantined(s); !slices.Contains(got, broken) {
		t.Errorf("quarantined after the wipe: %v, want %s", got, broken)
	}

	again := s.Publish(fleettest.Release{Ref: "v4", Closure: broken})
	untilGate(s, "a", again, "quarantine")
	untilGate(s, "b", again, "quarantine")
	s.While("the broken closure is published again", 2*time.Second, func(context.Context) (string, error) {
		return a.States(again) + b.States(again), nil
	})
	if b.Had(broken) || a.Runs() != v3 || b.Runs() != v3 {
		t.Errorf("a runs %s, b %s, want %s; b has the broken one: %v", a.Runs(), b.Runs(), v3, b.Had(broken))
	}
	_ = v1
}

// untilGate waits until that is what keeps the host from a rollout.
func untilGate(s *fleettest.Site, name, rolloutID, gate string) {
	s.T.Helper()
	s.Until(name+" waits for "+gate, func(ctx context.Context) (bool, string, error) {
		list, err := s.Operator().Rollouts(ctx)
		if err != nil || len(list) == 0 || list[0].RolloutID != rolloutID {
			return false, rolloutID + " is not the newest yet", err
		}
		w, err := s.Operator().Why(ctx, name)
		if err != nil || w.Reason == nil {
			return false, "no reason", err
		}
		return w.Reason.Gate == gate, w.Reason.Gate + ": " + w.Reason.Text, nil
	})
}

func TestAnAgentThatIsWipedWhileItSoaksHealsWithoutAHuman(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a", "b")
	a := s.Host("a")
	v2 := s.Build("v2")
	const soak = 3
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, First: []string{"a"}, Soak: soak})
	a.UntilState(id, host.Soaking)
	untilLogged(a, s, id, "ProbeResult")
	a.Stop()
	a.WipeState()
	a.Start()
	s.UntilRollout(id, "Terminal")
	if got := a.States(id); got != "Activating Soaking Converged" {
		t.Errorf("a went through %s", got)
	}
	sameEnding(t, s, "a", id, v2, host.Converged)
	s.Host("b").UntilMirrored()
	s.UntilRollout(s.Publish(fleettest.Release{Ref: "v3", Closure: s.Build("v3")}), "Terminal")
}

func TestAnAgentThatIsWipedOnceItHasConvergedHealsWithoutAHuman(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a", "b")
	a, b := s.Host("a"), s.Host("b")
	v2 := s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, First: []string{"a"}, Soak: 3})
	b.UntilState(id, host.Soaking)
	a.Stop()
	a.WipeState()
	a.Start()
	s.UntilRollout(id, "Terminal")
	if got := a.States(id); got != "Activating Soaking Converged" {
		t.Errorf("a went through %s", got)
	}
	sameEnding(t, s, "a", id, v2, host.Converged)
	s.UntilRollout(s.Publish(fleettest.Release{Ref: "v3", Closure: s.Build("v3")}), "Terminal")
}

// sameEnding waits until both sides have the host in the same state, by the same number of events. An agent that lost
// its journal does not know again what its probes said in an earlier life.
func sameEnding(t *testing.T, s *fleettest.Site, name, id, closure string, want host.State) {
	t.Helper()
	h := s.Host(name)
	s.Until("both sides agree on "+name, func(ctx context.Context) (bool, string, error) {
		_, here, err := h.Journal()
		if err != nil {
			return false, err.Error(), nil
		}
		there, err := h.Mirror(ctx)
		if err != nil {
			return false, "", err
		}
		x, y := here[id], there[id]
		same := x.State == want && y.State == want && x.LastEventSeq == y.LastEventSeq && x.TargetClosure == y.TargetClosure && x.PolicyHash == y.PolicyHash
		return same && h.Runs() == closure, x.State.String() + ", mirrored as " + y.State.String(), nil
	})
}
