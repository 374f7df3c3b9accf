package core

import (
	"errors"
	"testing"
	"time"

	"nixfleet/host"
	"nixfleet/trust"
)

func TestAGoodReleaseConvergesAfterItsSoak(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	if in := b.intent(); in.Closure != v2 || in.Prior != v1 || in.Attempt != 1 || in.Rollback {
		t.Fatalf("%+v", in)
	}
	if b.core.View().MayAccept {
		t.Fatal("a host that is switching asks for dispatches")
	}
	b.switched(r1, v2)
	b.probe(r1, host.Pass)
	b.reopen()
	b.pass(59 * time.Second)
	b.tick()
	b.state(r1, host.Soaking)
	b.pass(time.Second)
	b.tick()
	r := b.state(r1, host.Converged)
	if r.ConvergedAt.Before(r.SoakDueAt) || r.LastEventSeq != 6 {
		t.Fatalf("%+v", r)
	}
	b.reopen()
}

func TestABadReleaseIsRolledBackToWhatRanAtDispatch(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Fail)
	b.pass(119 * time.Second)
	b.tick()
	b.state(r1, host.Soaking)
	b.pass(time.Second)
	b.tick()
	b.state(r1, host.Failed)
	in := b.intent()
	if !in.Rollback || in.Closure != v1 || in.Attempt != 1 {
		t.Fatalf("%+v", in)
	}
	b.reopen()
	if b.intent() != in {
		t.Fatalf("reopened with %+v, was %+v", b.intent(), in)
	}
	b.runs = v1
	b.event(r1, host.RollbackCompleted{RevertedToClosure: v1, CompletedAt: b.now.Wall})
	b.state(r1, host.Reverted)
	if v := b.core.View(); len(v.Reverted) != 1 || v.Reverted[0].Closure != v2 || !v.MayAccept {
		t.Fatalf("%+v", v)
	}
	b.reopen()
}

func TestHaltLeavesTheHostAsItIs(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, func(w *terms) { w.policy = host.Halt }))
	b.event(r1, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
	b.state(r1, host.Failed)
	if v := b.core.View(); v.Intent != nil || !v.MayAccept {
		t.Fatalf("%+v", v)
	}
}

func TestARecoveredProbeEndsTheStreak(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, func(w *terms) { w.soak = 1000 }))
	b.switched(r1, v2)
	for range 5 {
		b.probe(r1, host.Fail)
		b.pass(100 * time.Second)
		b.tick()
		b.probe(r1, host.Pass)
		b.pass(100 * time.Second)
		b.tick()
	}
	b.state(r1, host.Converged)
}

func TestAWallJumpNeitherShortensASoakNorFailsAHost(t *testing.T) {
	for _, jump := range []time.Duration{-100 * time.Hour, 100 * time.Hour} {
		b := newBed(t)
		b.must(b.turn(r1, nil))
		b.switched(r1, v2)
		b.probe(r1, host.Fail)
		b.now.Wall = b.now.Wall.Add(jump)
		b.tick()
		b.state(r1, host.Soaking)
		b.probe(r1, host.Pass)
		b.pass(30 * time.Second)
		b.tick()
		b.state(r1, host.Soaking)
		b.pass(31 * time.Second)
		b.tick()
		r := b.state(r1, host.Converged)
		if r.ConvergedAt.Before(r.SoakDueAt) {
			t.Fatalf("converged %s before %s", r.ConvergedAt, r.SoakDueAt)
		}
		b.reopen()
	}
}

func TestEventTimesNeverGoBack(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	before := b.core.Records()[r1].ActivationCompletedAt
	b.now.Wall = b.now.Wall.Add(-time.Hour)
	b.probe(r1, host.Pass)
	r := b.state(r1, host.Soaking)
	if at := r.Probe("http").LastObservedAt; at.Before(before) {
		t.Fatalf("observed %s, switched %s", at, before)
	}
}

func TestASoakAndAStreakSurviveAReboot(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Pass)
	b.pass(30 * time.Second)
	b.probe(r1, host.Pass)
	b.reopen()
	b.reboot(20 * time.Second)
	b.tick()
	b.state(r1, host.Soaking)
	b.pass(9 * time.Second)
	b.tick()
	b.state(r1, host.Soaking)
	b.pass(2 * time.Second)
	b.tick()
	b.state(r1, host.Converged)
}

func TestAClockThatIsBehindAfterARebootCountsAsNothing(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Pass)
	b.reopen()
	b.reboot(-1000 * time.Hour)
	b.tick()
	b.state(r1, host.Soaking)
	b.pass(59 * time.Second)
	b.tick()
	b.state(r1, host.Soaking)
	b.pass(2 * time.Second)
	b.tick()
	b.state(r1, host.Converged)
}

func TestANewerDispatchSupersedesWhatSoaks(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.pass(time.Second)
	b.must(b.turn("edge@ccc", func(w *terms) { w.target = v3 }))
	if r := b.core.Records()[r1]; r.SupersededBy != "edge@ccc" {
		t.Fatalf("%+v", r)
	}
	if r := b.core.Records()["edge@ccc"]; r.CurrentClosureAtDispatch != v2 {
		t.Fatalf("%+v", r)
	}
	b.refused(HostEvent{RolloutID: r1, Event: host.ProbeResult{ProbeName: "http", ObservedAt: b.now.Wall}}, host.ErrIllegal)
	b.reopen()
}

func TestHostileDispatchesAreRefusedEachForItsReason(t *testing.T) {
	other := newBed(t)
	for name, c := range map[string]struct {
		class error
		turn  func(b *bed) Dispatch
	}{
		"ticket of another host":   {ErrWrongHost, func(b *bed) Dispatch { return b.turn(r2, func(w *terms) { w.host = "db-1" }) }},
		"dispatch to another host": {ErrWrongHost, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Message.Hostname = "db-1"; return d }},
		"other rollout":            {ErrWrongTicket, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Message.RolloutID = "stable@ccc"; return d }},
		"other target":             {ErrWrongTicket, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Message.TargetClosure = v3; return d }},
		"other wave":               {ErrWrongTicket, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Message.Wave = 7; return d }},
		"other ticket hash":        {ErrWrongTicket, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Message.TicketHash = "00"; return d }},
		"no ticket":                {ErrWrongTicket, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Ticket = other.noTicket(); return d }},
		"a rollout it had":         {ErrKnown, func(b *bed) Dispatch { return b.turn(r1, nil) }},
		"stale":                    {trust.ErrStale, func(b *bed) Dispatch { d := b.turn(r2, nil); b.pass(2 * time.Hour); return d }},
		"stale by the agent's own": {trust.ErrStale, func(b *bed) Dispatch { d := b.turn(r2, nil); d.MaxAge = time.Minute; b.pass(3 * time.Minute); return d }},
		"from the future":          {trust.ErrFutureDated, func(b *bed) Dispatch { d := b.turn(r2, nil); b.now.Wall = b.now.Wall.Add(-time.Hour); return d }},
		"older than the newest": {trust.ErrDowngrade, func(b *bed) Dispatch {
			return b.turn(r2, func(w *terms) { w.signedAt = w.signedAt.Add(-30 * time.Minute) })
		}},
		"read before the switch end": {ErrStaleReading, func(b *bed) Dispatch { d := b.turn(r2, nil); d.Current.Began.Boot = 0; return d }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.must(b.turn(r1, nil))
			b.switched(r1, v2)
			b.probe(r1, host.Pass)
			b.pass(time.Minute)
			b.tick()
			b.state(r1, host.Converged)
			d := c.turn(b)
			b.refused(d, c.class)
			if b.core.View().Intent != nil {
				t.Fatal("something is switched")
			}
		})
	}
}

func TestNothingIsAcceptedWhileASwitchIsRunningOrOwed(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.refused(b.turn(r2, nil), ErrSwitching)
	b.event(r1, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
	b.refused(b.turn(r2, nil), ErrSwitching)
}

func TestOtherKeysResetTheFloor(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.event(r1, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
	b.event(r1, host.RollbackCompleted{RevertedToClosure: v1, CompletedAt: b.now.Wall})
	b.reopen()
	d := b.turn(r2, func(w *terms) { w.signedAt = w.signedAt.Add(-time.Minute) })
	b.refused(d, trust.ErrDowngrade)
	d.Keys = "other"
	b.must(d)
}

func TestACommitThatFailsChangesNothing(t *testing.T) {
	b := newBed(t)
	d := b.turn(r1, nil)
	first := b.core.Handle([]Input{d}, b.now)
	if len(b.core.Records()) != 0 || b.core.View().Intent != nil {
		t.Fatal("Handle changed the core")
	}
	second := b.core.Handle([]Input{d}, b.now)
	if string(first.Frame) != string(second.Frame) {
		t.Fatal("the same input came to something else")
	}
	b.core.Applied(second)
	b.state(r1, host.Activating)
}

func TestOneBatchIsOneFrame(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	commit := b.core.Handle([]Input{
		HostEvent{r1, host.ActivationStarted{StartedAt: b.now.Wall}},
		HostEvent{r1, host.ConvergedReached{ConvergedAt: b.now.Wall}},
		HostEvent{r1, host.ActivationCompleted{ObservedCurrentClosure: v2, CompletedAt: b.now.Wall}},
	}, b.now)
	if !errors.Is(commit.Results[1], host.ErrIllegal) || commit.Results[0] != nil || commit.Results[2] != nil {
		t.Fatal(commit.Results)
	}
	b.frames = append(b.frames, commit.Frame)
	b.core.Applied(commit)
	if r := b.state(r1, host.Soaking); r.LastEventSeq != 3 {
		t.Fatalf("a refused event consumed a seq: %d", r.LastEventSeq)
	}
	b.reopen()
}

func TestAProbeResultIsAboutFourHundredBytes(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Pass)
	b.pass(time.Minute)
	b.probe(r1, host.Pass)
	frame := b.frames[len(b.frames)-1]
	t.Logf("%d bytes: %s", len(frame), frame)
	if len(frame) > 450 {
		t.Fatal(len(frame))
	}
}

func TestOnlyTheLastEightFinishedRolloutsAreKept(t *testing.T) {
	b := newBed(t)
	ids := []string{}
	for i := range 12 {
		id := "stable@r" + string(rune('a'+i))
		ids = append(ids, id)
		b.must(b.turn(id, nil))
		b.event(id, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
		b.event(id, host.RollbackCompleted{RevertedToClosure: v1, CompletedAt: b.now.Wall})
		if i != 1 { // of this one the control plane has not heard
			b.must(Acked{RolloutID: id, Seq: 3})
		}
		b.pass(time.Second)
	}
	b.must(b.turn("stable@last", nil))
	if v := b.core.View(); v.Knows(ids[0]) || !v.Knows(ids[1]) || v.Knows(ids[3]) || !v.Knows(ids[4]) {
		t.Fatal(b.core.Order())
	}
	b.reopen()
}
