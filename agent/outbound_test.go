package agent

import (
	"testing"

	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/journal"
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
