package core

import (
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
)

func (b *bed) noTicket() (v trust.Verified[*fleet.Ticket]) { return v }

// boot ends the process, and the machine where down is not zero, and does what the agent does first.
func (b *bed) boot(down time.Duration) {
	b.t.Helper()
	b.reopen()
	if down != 0 {
		b.reboot(down)
	} else {
		b.pass(time.Second)
	}
	b.tick()
}

func TestBootActivatingLostIsFiredAgainAndTheThirdTimeFails(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	for attempt := uint32(1); attempt <= 3; attempt++ {
		b.boot(time.Minute)
		if in := b.intent(); in.Attempt != attempt || in.Rollback {
			t.Fatalf("%+v", in)
		}
		b.must(Lost{RolloutID: r1, Attempt: attempt, Current: b.reading()})
	}
	b.state(r1, host.Failed)
	if in := b.intent(); !in.Rollback {
		t.Fatalf("%+v", in)
	}
}

func TestBootActivatingOnSomethingElseFails(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.boot(time.Minute)
	b.runs = v3
	b.must(Lost{RolloutID: r1, Attempt: 1, Current: b.reading()})
	b.state(r1, host.Failed)
}

func deferredBed(t *testing.T) *bed {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.event(r1, host.ActivationDeferred{Component: "kernel", DeferredAt: b.now.Wall})
	b.state(r1, host.Deferred)
	return b
}

func TestBootDeferredOnTargetAfterAReboot(t *testing.T) {
	b := deferredBed(t)
	b.runs = v2
	b.boot(time.Minute)
	b.state(r1, host.Soaking)
}

func TestBootDeferredOnPriorAfterAReboot(t *testing.T) {
	b := deferredBed(t)
	b.boot(time.Minute)
	b.state(r1, host.Failed)
	if in := b.intent(); !in.Rollback || in.Closure != v1 {
		t.Fatalf("%+v", in)
	}
}

func TestBootDeferredOnTargetInTheSameBoot(t *testing.T) {
	b := deferredBed(t)
	b.runs = v2
	b.boot(0)
	b.state(r1, host.Soaking)
}

func TestBootDeferredOnPriorInTheSameBoot(t *testing.T) {
	b := deferredBed(t)
	b.boot(0)
	b.state(r1, host.Deferred)
}

func TestBootDeferredOnSomethingElse(t *testing.T) {
	b := deferredBed(t)
	b.runs = v3
	b.boot(0)
	b.state(r1, host.Failed)
}

func TestBootSoakingOnTargetGoesOn(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Fail)
	b.pass(100 * time.Second)
	b.probe(r1, host.Fail)
	b.boot(0)
	b.state(r1, host.Soaking)
	p := b.core.View().Probing
	if p == nil || !p.Soaking || len(p.Known) != 1 {
		t.Fatalf("%+v", p)
	}
	b.pass(19 * time.Second)
	b.tick()
	r := b.state(r1, host.Failed) // the streak survived
	if r.PolicyApplied != host.RollbackAndHalt {
		t.Fatalf("%+v", r)
	}
}

func TestBootSoakingOnSomethingElseFails(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.runs = v3
	b.boot(time.Minute)
	b.state(r1, host.Failed)
}

func TestBootFailedOwedIsFiredAgainAndTheThirdTimeIsForGood(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.event(r1, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
	for attempt := uint32(1); attempt <= 3; attempt++ {
		b.boot(time.Minute)
		in := b.intent()
		if in.Attempt != attempt || !in.Rollback || in.Closure != v1 {
			t.Fatalf("%+v", in)
		}
		b.must(Lost{RolloutID: r1, Attempt: attempt, Current: b.reading()})
	}
	r := b.state(r1, host.Failed)
	if host.Owed(&r) || b.core.View().Intent != nil || !b.core.View().MayAccept {
		t.Fatalf("%+v", r)
	}
	b.reopen()
}

func TestBootFailedOwedNothingAndReverted(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.event(r1, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
	b.event(r1, host.RollbackCompleted{RevertedToClosure: v1, CompletedAt: b.now.Wall})
	frames := len(b.frames)
	b.boot(time.Minute)
	if len(b.frames) != frames || b.core.View().Intent != nil {
		t.Fatal("something was done")
	}
}

func TestBootConvergedOnTargetArmsProbesForTheHeartbeat(t *testing.T) {
	b := convergedBed(t)
	b.boot(time.Minute)
	if v := b.core.View(); v.Probing == nil || v.Probing.Soaking || v.Drifted != "" {
		t.Fatalf("%+v", v)
	}
}

func TestBootConvergedElsewhereIsDrift(t *testing.T) {
	b := convergedBed(t)
	b.runs = v3
	b.boot(time.Minute)
	if v := b.core.View(); v.Drifted != r1 {
		t.Fatalf("%+v", v)
	}
	b.state(r1, host.Converged)
	b.runs = v2
	b.tick()
	if v := b.core.View(); v.Drifted != "" {
		t.Fatalf("%+v", v)
	}
}

func convergedBed(t *testing.T) *bed {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.switched(r1, v2)
	b.probe(r1, host.Pass)
	b.pass(time.Minute)
	b.tick()
	b.state(r1, host.Converged)
	return b
}

func TestRollbackAttemptsAreOneAndFiveMinutesApart(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	b.event(r1, host.ActivationFailed{ExitCode: 1, FailedAt: b.now.Wall})
	for _, wait := range []time.Duration{time.Minute, 5 * time.Minute} {
		b.event(r1, host.RollbackFailed{ExitCode: 1, FailedAt: b.now.Wall})
		b.reopen()
		b.pass(wait - time.Second)
		b.tick()
		if b.core.View().Intent != nil {
			t.Fatalf("fired within %s", wait)
		}
		if v := b.core.View(); !v.HasNext || v.NextIn != time.Second {
			t.Fatalf("next in %s", v.NextIn)
		}
		b.pass(time.Second)
		b.tick()
		b.intent()
	}
	b.event(r1, host.RollbackFailed{ExitCode: 1, FailedAt: b.now.Wall})
	b.pass(time.Hour)
	b.tick()
	if b.core.View().Intent != nil {
		t.Fatal("a fourth attempt")
	}
	if r := b.core.Records()[r1]; r.RollbackAttempts != 3 {
		t.Fatalf("%+v", r)
	}
}

func TestAReadingFromBeforeTheSwitchIsIgnored(t *testing.T) {
	b := newBed(t)
	b.must(b.turn(r1, nil))
	old := b.reading()
	b.pass(time.Second)
	b.switched(r1, v2)
	b.must(AdvanceTick{Current: old})
	b.state(r1, host.Soaking)
	b.must(AdvanceTick{Current: Current{Began: b.now}}) // unreadable
	b.state(r1, host.Soaking)
}
