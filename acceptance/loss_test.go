package acceptance_test

import (
	"context"
	"testing"
	"time"

	"nixfleet/host"
	"nixfleet/internal/fleettest"
)

func TestAControlPlaneThatLostItsDatabaseInMidRolloutIsGivenItBack(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a", "b", "c")
	v2 := s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 3, First: []string{"a"}})
	s.Host("a").UntilState(id, host.Soaking)
	s.StopControlPlane()
	s.WipeControlPlane()
	s.StartControlPlane()
	s.UntilRollout(id, "Terminal")
	for _, name := range []string{"a", "b", "c"} {
		h := s.Host(name)
		if got := h.Runs(); got != v2 {
			t.Errorf("%s runs %s, want %s", name, got, v2)
		}
		if got := h.States(id); got != "Activating Soaking Converged" {
			t.Errorf("%s went through %s", name, got)
		}
		h.UntilMirrored()
	}
}

func TestAClosureQuarantinedBeforeAWipeIsNotSentOutAfterIt(t *testing.T) {
	t.Parallel()
	s, v1 := settled(t, "a", "b")
	bad := s.BuildBroken("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: bad, Soak: 5, First: []string{"a"}})
	s.UntilRollout(id, "Reverted")
	s.Host("a").UntilLogged()
	s.StopControlPlane()
	s.WipeControlPlane()
	s.Publish(fleettest.Release{Ref: "v3", Closure: bad, First: []string{"b"}})
	s.StartControlPlane()
	s.Until("b waits for the quarantine", func(ctx context.Context) (bool, string, error) {
		w, err := s.Operator().Why(ctx, "b")
		if err != nil || w.Reason == nil {
			return false, "no reason", err
		}
		return w.Reason.Gate == "quarantine", w.Reason.Gate + ": " + w.Reason.Text, nil
	})
	if got := quarantined(s); len(got) != 1 || got[0] != bad {
		t.Errorf("quarantined: %v", got)
	}
	s.While("nobody gets it", 2*time.Second, func(context.Context) (string, error) {
		if s.Host("b").Had(bad) || s.Host("b").Runs() != v1 || s.Host("a").Runs() != v1 {
			return "a host switched to the quarantined closure", nil
		}
		return "", nil
	})
}
