package acceptance_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/internal/fleettest"
	"nixfleet/operator"
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
		h.UntilLogged()
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

func TestAnAgentThatLostItsStateInMidSoakIsRestoredBySnapshots(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a")
	a := s.Host("a")
	v2 := s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 4})
	a.UntilState(id, host.Soaking)
	a.Stop()
	a.WipeState()
	a.Start()
	s.UntilRollout(id, "Terminal")
	if got := a.Runs(); got != v2 {
		t.Errorf("it runs %s, want %s", got, v2)
	}
	a.UntilMirrored()
	// And once more when all is over: it must still know what it had, and take the next release.
	a.Stop()
	a.WipeState()
	a.Start()
	v3 := s.Build("v3")
	next := s.Publish(fleettest.Release{Ref: "v3", Closure: v3})
	s.UntilRollout(next, "Terminal")
	if got := a.Runs(); got != v3 {
		t.Errorf("it runs %s, want %s", got, v3)
	}
	a.UntilMirrored()
}

func TestADiskRestoredFromACopyIsNoticedNamedAndHealed(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a")
	a := s.Host("a")
	v2 := s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 4})
	a.UntilState(id, host.Soaking)
	a.Stop()
	backup := a.CopyState()
	a.Start()
	s.UntilRollout(id, "Terminal")
	a.UntilLogged()
	firstLife, _, err := a.Journal()
	if err != nil {
		t.Fatal(err)
	}
	a.Stop()
	a.RestoreState(backup)
	a.Start()
	s.Until("the agent's own record is taken", func(ctx context.Context) (bool, string, error) {
		rows, err := a.Rows(ctx)
		return slices.ContainsFunc(rows, func(r fleettest.Row) bool { return r.Flags&ledger.Resync != 0 }), "no record yet", err
	})
	a.UntilMirrored()
	// Nothing was swallowed: all of the first life is still there, and all that the second one has to tell is too.
	secondLife, _, err := a.Journal()
	if err != nil {
		t.Fatal(err)
	}
	s.Until("every event of both lives is in the log", func(ctx context.Context) (bool, string, error) {
		rows, err := a.Rows(ctx)
		if err != nil {
			return false, "", err
		}
		there := map[string]bool{}
		for _, r := range rows {
			there[r.RolloutID+" "+r.Event.Canonical] = true
		}
		for _, e := range firstLife {
			if !there[e.RolloutID+" "+e.Canonical] {
				return false, "missing of the first life: " + e.Canonical, nil
			}
		}
		// What the second life said under numbers that were taken is in its record instead.
		last := secondLife[len(secondLife)-1]
		return last.Seq > firstLife[len(firstLife)-1].Seq || there[last.RolloutID+" "+last.Canonical], "the second life's end is missing: " + last.Canonical, nil
	})
	next := s.Publish(fleettest.Release{Ref: "v3", Closure: s.Build("v3")})
	s.UntilRollout(next, "Terminal")
	a.UntilMirrored()
}

func TestTwoMachinesWithOneIdentityAreBothHeld(t *testing.T) {
	t.Parallel()
	s, v1 := settled(t, "a")
	a := s.Host("a")
	a.Stop()
	clone := a.Clone()
	a.Start()
	clone.Start()
	held := func(h operator.Host) bool { return h.Held != "" }
	s.UntilHost("a", "is held", held)
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: s.Build("v2")})
	s.While("neither is dispatched", 2*time.Second, func(context.Context) (string, error) {
		if a.Runs() != v1 || clone.Runs() != v1 {
			return "one of them switched", nil
		}
		return "", nil
	})
	clone.Stop()
	if err := s.Operator().ReleaseHost(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.UntilRollout(id, "Terminal")
	a.UntilMirrored()
}
