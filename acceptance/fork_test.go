package acceptance_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/internal/fleettest"
	"nixfleet/operator"
	"nixfleet/wire"
)

// untilLogged waits for an unflagged event of that kind in the control plane's log of a rollout.
func untilLogged(h *fleettest.Host, s *fleettest.Site, rolloutID, kind string) {
	s.T.Helper()
	s.Until(h.Name+" reported "+kind, func(ctx context.Context) (bool, string, error) {
		rows, err := h.Rows(ctx)
		return slices.ContainsFunc(rows, func(r fleettest.Row) bool {
			return r.RolloutID == rolloutID && r.Kind == kind && r.Flags == 0
		}), fmt.Sprint(len(rows), " rows"), err
	})
}

// resyncs gives the rows of the log in which the host gave its own record of a rollout.
func resyncs(rows []fleettest.Row, rolloutID string) []fleettest.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r fleettest.Row) bool {
		return r.RolloutID != rolloutID || r.Flags&ledger.Resync == 0
	})
}

func TestAnAgentRestoredFromACopyOfItsDiskIsNoticedAndHealedAndNoEventIsSwallowed(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a")
	a := s.Host("a")
	v2 := s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 4})
	a.UntilState(id, host.Soaking)
	untilLogged(a, s, id, "ProbeResult")
	a.Stop()
	backup := a.CopyState()
	a.Start()
	s.UntilRollout(id, "Terminal")
	a.UntilLogged()
	firstEpoch := epoch(t, a)
	a.Stop()
	first, _, err := a.Journal()
	if err != nil {
		t.Fatal(err)
	}

	a.RestoreState(backup)
	if got := epoch(t, a); got != firstEpoch {
		t.Fatalf("the copy is of another history: epoch %s, was %s", got, firstEpoch)
	}
	a.Start()
	s.Until("the agent gave its record", func(ctx context.Context) (bool, string, error) {
		rows, err := a.Rows(ctx)
		return len(resyncs(rows, id)) > 0, fmt.Sprint(len(rows), " rows"), err
	})
	a.UntilMirrored()
	s.UntilHost("a", "is Converged and not held", func(h operator.Host) bool { return h.State == "Converged" && h.Held == "" })
	if got := epoch(t, a); got == firstEpoch {
		t.Error("the second life goes on in the epoch of the first")
	}
	if !a.Log().Has("the control plane holds another history of this host") {
		t.Error("the agent's log does not name it")
	}
	second, _, err := a.Journal()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := a.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	accountedFor(t, "first life", first, rows)
	accountedFor(t, "second life", second, rows)

	// Nothing of it is in the way of what comes next.
	s.UntilRollout(s.Publish(fleettest.Release{Ref: "v3", Closure: s.Build("v3")}), "Terminal")
	a.UntilMirrored()
}

// accountedFor fails for an event that is neither in the log, whatever its flags, nor covered by a record that the
// host gave of itself afterwards.
func accountedFor(t *testing.T, life string, events []fleettest.Event, rows []fleettest.Row) {
	t.Helper()
	for _, e := range events {
		logged := slices.ContainsFunc(rows, func(r fleettest.Row) bool { return r.Event == e })
		covered := slices.ContainsFunc(resyncs(rows, e.RolloutID), func(r fleettest.Row) bool {
			m, err := wire.DecodeRecordMessage([]byte(r.Payload))
			if err != nil {
				t.Fatal(err)
			}
			return m.Record != nil && m.Record.LastEventSeq >= e.Seq
		})
		if !logged && !covered {
			t.Errorf("%s: event %d of %s was swallowed: %s", life, e.Seq, e.RolloutID, e.Canonical)
		}
	}
}

// epoch reads which history the agent's journal is of.
func epoch(t *testing.T, h *fleettest.Host) string {
	t.Helper()
	e, err := h.Epoch()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// quiet is longer than a clone must be silent for its host to be released.
const quiet = 11 * time.Minute

// cloned gives a site whose host a runs twice, and the control plane holds it for that.
func cloned(t *testing.T) (s *fleettest.Site, clone *fleettest.Host) {
	t.Helper()
	s, _ = settled(t, "a", "b")
	a := s.Host("a")
	a.Stop()
	clone = a.Clone()
	a.Start()
	clone.Start()
	s.UntilHost("a", "is held", func(h operator.Host) bool { return h.Held != "" })
	return s, clone
}

// heldBack publishes a release and sees it go to b only: while two machines live as a, neither of them gets it.
func heldBack(s *fleettest.Site, clone *fleettest.Host) (rolloutID, closure string) {
	s.T.Helper()
	a := s.Host("a")
	closure = s.Build("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: closure})
	s.Host("b").UntilState(id, host.Converged)
	s.While("two machines live as a", 2*time.Second, func(ctx context.Context) (string, error) {
		w, err := s.Operator().Why(ctx, "a")
		switch {
		case err != nil:
			return "", err
		case w.Host.Held == "" || w.Reason == nil || w.Reason.Gate != "held":
			return fmt.Sprintf("a is not held: %+v %+v", w.Host, w.Reason), nil
		case a.States(id)+clone.States(id) != "":
			return "a host that is held went to " + a.States(id) + clone.States(id), nil
		}
		return "", nil
	})
	if a.Had(closure) || clone.Had(closure) {
		s.T.Error("the closure came to a host that is held")
	}
	return id, closure
}

func TestACloneIsNoticedAndBothAreHeldUntilOneAloneIsSeenForTenMinutes(t *testing.T) {
	t.Parallel()
	s, clone := cloned(t)
	id, closure := heldBack(s, clone)
	clone.Stop()
	a := s.Host("a")
	untilAlone(s, a)
	s.Clock.Forward(quiet - 2*time.Minute)
	s.While("nine minutes are over", time.Second, func(ctx context.Context) (string, error) {
		w, err := s.Operator().Why(ctx, "a")
		if err == nil && w.Host.Held == "" {
			return "a is released", nil
		}
		return "", err
	})
	s.Clock.Forward(2 * time.Minute)
	s.UntilRollout(id, "Terminal")
	if a.Runs() != closure || clone.Had(closure) {
		t.Errorf("a runs %s, want %s; its clone has it: %v", a.Runs(), closure, clone.Had(closure))
	}
	a.UntilMirrored()
}

func TestAnOperatorReleasesAHostWhoseCloneIsGone(t *testing.T) {
	t.Parallel()
	s, clone := cloned(t)
	id, closure := heldBack(s, clone)
	clone.Stop()
	a := s.Host("a")
	untilAlone(s, a)
	if err := s.Operator().ReleaseHost(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.UntilRollout(id, "Terminal")
	if a.Runs() != closure {
		t.Errorf("a runs %s, want %s", a.Runs(), closure)
	}
	rows, err := a.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"HostHeld", "HostReleased"} {
		if !slices.ContainsFunc(rows, func(r fleettest.Row) bool { return r.Kind == kind }) {
			t.Errorf("the log has no %s", kind)
		}
	}
	a.UntilMirrored()
}

// untilAlone waits until the control plane has heard the host twice more, and so the clone no longer.
func untilAlone(s *fleettest.Site, a *fleettest.Host) {
	s.T.Helper()
	for range 2 {
		w, err := s.Operator().Why(s.T.Context(), a.Name)
		if err != nil {
			s.T.Fatal(err)
		}
		s.UntilHost(a.Name, "is heard", func(h operator.Host) bool { return h.LastSeen.After(w.Host.LastSeen) })
	}
}
