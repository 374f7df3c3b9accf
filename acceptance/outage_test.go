package acceptance_test

import (
	"testing"

	"nixfleet/host"
	"nixfleet/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }

// settled gives a site whose hosts have all converged on v1.
func settled(t *testing.T, names ...string) (s *fleettest.Site, v1 string) {
	t.Helper()
	s = fleettest.New(t, names...)
	v1 = s.Build("v1")
	id := s.Publish(fleettest.Release{Ref: "v1", Closure: v1})
	s.StartControlPlane()
	s.StartAgents()
	s.UntilRollout(id, "Terminal")
	return s, v1
}

func TestAnAgentConvergesByItselfWhileItsControlPlaneIsGone(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a")
	a := s.Host("a")
	v2 := s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 3})
	a.UntilState(id, host.Activating)
	s.StopControlPlane()
	a.UntilState(id, host.Converged)
	if got := a.States(id); got != "Activating Soaking Converged" {
		t.Errorf("it went through %s", got)
	}
	if got := a.Runs(); got != v2 {
		t.Errorf("it runs %s, want %s", got, v2)
	}
	s.StartControlPlane()
	s.UntilRollout(id, "Terminal")
	a.UntilLogged()
	a.UntilMirrored()
}

func TestAnAgentTakesABrokenReleaseBackByItselfWhileItsControlPlaneIsGone(t *testing.T) {
	t.Parallel()
	s, v1 := settled(t, "a")
	a := s.Host("a")
	v2 := s.BuildBroken("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 5})
	a.UntilState(id, host.Activating)
	s.StopControlPlane()
	a.UntilState(id, host.Reverted)
	if got := a.States(id); got != "Activating Soaking Failed Reverted" {
		t.Errorf("it went through %s", got)
	}
	if got := a.Runs(); got != v1 {
		t.Errorf("it runs %s, want %s", got, v1)
	}
	s.StartControlPlane()
	s.UntilRollout(id, "Reverted")
	a.UntilLogged()
	a.UntilMirrored()
	if got := quarantined(s); len(got) != 1 || got[0] != v2 {
		t.Errorf("quarantined: %v", got)
	}
}

// quarantined lists the closures that the channel refuses.
func quarantined(s *fleettest.Site) []string {
	s.T.Helper()
	list, err := s.Operator().Quarantines(s.T.Context())
	if err != nil {
		s.T.Fatal(err)
	}
	var closures []string
	for _, q := range list {
		if q.ClearedAt.IsZero() && q.Channel == fleettest.Channel {
			closures = append(closures, q.Closure)
		}
	}
	return closures
}
