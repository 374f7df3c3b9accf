package agent

import (
	"net/http"
	"testing"
	"time"

	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/journal"
	"nixfleet/wire"
)

func TestAnEventThatIsNewerThanTheViewIsNotTakenForSettled(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.clock = clock.Process("boot-1")
	a, err := New(s.cfg, Deps{Clock: s.clock, Backend: s.host, HTTP: s.http()})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	var last journal.Pos
	// What the reducer does, stopped between the append and the View: twice, as a slow scan may see it.
	c := core.New(core.Options{Hostname: web, Code: Version, Epoch: "e"})
	for _, in := range []core.Input{
		s.inputFor("stable@a", v2),
		core.HostEvent{RolloutID: "stable@a", Event: host.ActivationCompleted{ObservedCurrentClosure: v2, CompletedAt: s.clock.Now().Wall}},
	} {
		commit := c.Handle([]core.Input{in}, s.clock.Now())
		if err := commit.Results[0]; err != nil {
			t.Fatal(err)
		}
		if last, err = a.journal.Append(commit.Frame); err != nil {
			t.Fatal(err)
		}
		c.Applied(commit)
	}
	owed, cursor, err := a.owed(256)
	if err != nil || len(owed) != 0 {
		t.Fatalf("%d events owed, error %v", len(owed), err)
	}
	// The View catches up: both must be sent, from wherever the queue stands now.
	a.core = c
	v := *c.View()
	v.Cursor = cursor
	a.view.Store(&v)
	a.tail.Store(&last)
	if owed, _, err = a.owed(256); err != nil || len(owed) != 2 || owed[0].Seq != 1 {
		t.Fatalf("%d events owed behind %v, error %v: want seq 1 and 2", len(owed), cursor, err)
	}
	if err := a.journal.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADeadLetterInTheMiddleOfABatchHoldsNothingUp(t *testing.T) {
	inBubble(t, func(s *site) {
		until := s.clock.Now().Boot + time.Minute // everything waits until it goes out in one batch
		s.cp.status = func(env wire.Envelope) int {
			if s.clock.Now().Boot < until {
				return http.StatusServiceUnavailable
			}
			if env.Kind == "ActivationStarted" {
				return http.StatusUnprocessableEntity
			}
			return 0
		}
		stop := s.run()
		s.cp.send(s.release("stable@a", v2))
		s.pass(10 * time.Minute)
		if got := s.cp.kinds(); got != "DispatchAck ActivationCompleted ProbeTopologyDeclared Converged" {
			t.Error(got)
		}
		if env := s.cp.stored["stable@a"][3]; !env.HasAfter || env.After != 1 {
			t.Errorf("the hole is not stated: %+v", env)
		}
		stop()
	})
}

func TestRetentionCoalescesSupersededResultsAndStatesTheHoles(t *testing.T) {
	s := newSite(t, t.TempDir())
	backlog(t, s, 8000)
	a, err := New(s.cfg, Deps{Clock: s.clock, Backend: s.host, HTTP: s.http()})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	before := a.journal.Size()
	if err := a.retain(&retention{rollouts: map[uint64]map[string]bool{}, limit: before / 2}); err != nil {
		t.Fatal(err)
	}
	if after := a.journal.Size(); after > before/2 {
		t.Errorf("%d of %d bytes are left", after, before)
	}
	owed, _, err := a.owed(256)
	if err != nil || owed[0].Kind != "DispatchAck" || owed[1].Kind != "ActivationCompleted" {
		t.Fatal(owed[:2], err)
	}
	env, err := wire.DecodeEnvelope(owed[2].envelope)
	if err != nil || !env.HasAfter || env.After != 2 {
		t.Errorf("%+v %v", env, err)
	}
	if err := a.journal.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSegmentsOfForgottenRolloutsAreRemoved(t *testing.T) {
	s := newSite(t, t.TempDir())
	backlog(t, s, 8000)
	a, err := New(s.cfg, Deps{Clock: s.clock, Backend: s.host, HTTP: s.http()})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	r := &retention{rollouts: map[uint64]map[string]bool{}, limit: MaxJournal}
	n := len(a.journal.Segments())
	if err := a.retain(r); err != nil || len(a.journal.Segments()) != n {
		t.Fatalf("%d of %d segments, %v", len(a.journal.Segments()), n, err)
	}
	v := *a.view.Load()
	v.States = nil // pruned
	a.view.Store(&v)
	if err := a.retain(r); err != nil || len(a.journal.Segments()) != 1 {
		t.Fatalf("%d of %d segments, %v", len(a.journal.Segments()), n, err)
	}
	if err := a.journal.Close(); err != nil {
		t.Fatal(err)
	}
}
