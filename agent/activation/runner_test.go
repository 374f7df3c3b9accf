package activation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/agent/activation"
)

func TestASwitchThatSucceedsRunsAndBootsTheTarget(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "say hello")
	r.boot(v1)
	out := expect[activation.Completed](t, r.switchTo(v2))
	if out.Closure != v2 || out.ExitCode() != 0 || out.Tail() != "hello\n" {
		t.Fatalf("got %#v", out)
	}
	r.runs(v2)
	r.boots(v2)
}

func TestAHostThatRunsNothingYetTakesItsFirstRelease(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	expect[activation.Completed](t, r.switchTo(v1))
	r.runs(v1)
}

func TestARollbackIsTheSameSwitchTheOtherWay(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2")
	r.boot(v1)
	expect[activation.Completed](t, r.switchTo(v2))
	back := r.intent(v1)
	back.Prior, back.Unit = v2, activation.UnitName("edge@1", true, 1)
	expect[activation.Completed](t, r.carryOut(back))
	r.runs(v1)
	r.boots(v1)
}

func TestAReleaseThatFailsLeavesTheHostOnWhatItRan(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "say no service", "exit 7")
	r.boot(v1)
	out := expect[activation.SwitchFailed](t, r.switchTo(v2))
	if out.Phase != activation.PhaseSwitch || out.ExitCode() != 7 || !strings.HasSuffix(out.Tail(), "no service\n") {
		t.Fatalf("got %#v, tail %q", out, out.Tail())
	}
	r.runs(v1)
}

func TestAReleaseWithoutItsProgramFails(t *testing.T) {
	r := newRig(t)
	src := t.TempDir()
	closure, err := activation.AddRelease(r.cfg.Releases, src, "empty")
	r.ok(err)
	out := expect[activation.SwitchFailed](t, r.switchTo(closure))
	if out.ExitCode() != activation.ExitLost || out.Phase != activation.PhaseSwitch {
		t.Fatalf("got %#v", out)
	}
}

func TestASwitchSeesItsOwnPathsAndNoneOfTheAgentsSecrets(t *testing.T) {
	t.Setenv("NIXFLEET_AGENT_SECRET", "hidden")
	r := newRig(t)
	v1 := r.publish("v1", "environment")
	said := expect[activation.Completed](t, r.switchTo(v1)).Output
	for _, want := range []string{
		"NIXFLEET_ROOT=" + r.root, "NIXFLEET_CLOSURE=" + filepath.Join(r.root, "store", v1),
		"NIXFLEET_CURRENT_SYSTEM=" + filepath.Join(r.root, "current-system"), "NIXFLEET_PROFILE=" + filepath.Join(r.root, "profile"), " switch\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
	if strings.Contains(said, "hidden") {
		t.Errorf("the agent's environment came through: %q", said)
	}
}

func TestOnlyTheEndOfTheOutputIsKept(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1", "flood", "exit 1")
	out := expect[activation.SwitchFailed](t, r.switchTo(v1))
	if n := len(out.Output); n != activation.MaxTail || !strings.HasSuffix(out.Tail(), "the end") || len(out.Tail()) > activation.MaxTail {
		t.Fatalf("%d bytes of output, tail %d", n, len(out.Tail()))
	}
	info, err := os.Stat(filepath.Join(r.root, "units", r.intent(v1).Unit, "output"))
	r.ok(err)
	if info.Size() > 64<<10 {
		t.Fatalf("the output file has %d bytes", info.Size())
	}
}

func TestAServiceThatAReleaseStartsOutlivesTheSwitch(t *testing.T) {
	r := newRig(t)
	pipe := filepath.Join(r.holds, "go")
	v1 := r.publish("v1", "daemon "+pipe, "say started")
	out := expect[activation.Completed](t, r.switchTo(v1))
	if out.Output != "started\n" {
		t.Fatalf("output %q", out.Output)
	}
	r.letGo() // would wait for ever if nobody read the pipe any more
}

func TestAThirdClosureEndsTheAttempt(t *testing.T) {
	r := newRig(t)
	v1, third := r.publish("v1"), r.publish("third")
	r.boot(v1)
	v2 := r.publish("v2", "swap "+third, "hold "+r.holds)
	out := expect[activation.VerifyMismatch](t, r.switchTo(v2))
	if out.Observed != third || out.ExitCode() != -3 {
		t.Fatalf("got %#v", out)
	}
	state, err := r.dir.Unit(context.Background(), r.intent(v2).Unit)
	if err != nil || state.Running {
		t.Fatalf("the unit still runs: %+v, %v", state, err)
	}
}

func TestAProfileThatTheProgramMovedIsCorrected(t *testing.T) {
	r := newRig(t)
	v1, third := r.publish("v1"), r.publish("third")
	r.boot(v1)
	v2 := r.publish("v2", "profile "+third)
	expect[activation.Completed](t, r.switchTo(v2))
	r.boots(v2)
}

func TestASwitchThatTakesTooLongIsStopped(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "say waiting", "hold "+r.holds)
	r.boot(v1)
	in := r.intent(v2)
	out := expect[activation.TimedOut](t, r.overdue(in))
	if out.Phase != activation.PhaseSwitch || out.ExitCode() != -4 || !strings.Contains(out.Tail(), "waiting") {
		t.Fatalf("got %#v", out)
	}
	r.runs(v1)
	state, err := r.dir.Unit(context.Background(), in.Unit)
	if err != nil || state.Running || state.Result == nil || state.Result.Phase != activation.PhaseStopped || state.Result.Exit != 128+15 {
		t.Fatalf("the unit is %+v, %v: want ended when asked to", state, err)
	}
}

func TestRunItselfEndsASwitchThatTakesTooLong(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1", "hold "+r.holds)
	in := r.intent(v1)
	in.Timeout = 50 * time.Millisecond
	if out, ok := r.carryOut(in).(activation.TimedOut); !ok || out.After < in.Timeout {
		t.Fatalf("got %#v", out)
	}
}

func TestASwitchThatIgnoresBeingStoppedIsKilledAfterTheGrace(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "deaf", "hold "+r.holds)
	r.boot(v1)
	r.cfg.Grace = 100 * time.Millisecond
	hasty, err := activation.OpenDirectory(r.cfg, r.run.Clock)
	r.ok(err)
	r.dir, r.run.Backend = hasty, hasty
	in := r.intent(v2)
	expect[activation.TimedOut](t, r.overdue(in))
	state, err := r.dir.Unit(context.Background(), in.Unit)
	if err != nil || state.Running || state.Result != nil {
		t.Fatalf("the unit is %+v, %v: want killed", state, err)
	}
	if busy, err := r.dir.Busy(context.Background()); busy || err != nil {
		t.Fatalf("the lock is still held: %v, %v", busy, err)
	}
	r.runs(v1)
}

func TestAnotherSwitchIsWaitedForThenTheAttemptFails(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	lock, err := os.OpenFile(filepath.Join(r.root, "switch.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	r.ok(err)
	r.ok(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	in := r.intent(v1)
	in.Timeout = 50 * time.Millisecond
	out := expect[activation.TimedOut](t, r.carryOut(in))
	if out.Phase != activation.PhaseBusy {
		t.Fatalf("got %#v", out)
	}
	state, err := r.dir.Unit(context.Background(), in.Unit)
	if err != nil || state.Started.BootID != "" {
		t.Fatalf("something was fired while busy: %+v, %v", state, err)
	}
	r.ok(lock.Close())
	expect[activation.Completed](t, r.carryOut(r.intent(v1)))
}

func TestADeferredReleaseIsSetForBootOnly(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	v2 := r.publishWith("v2", map[string]string{"nixfleet-deferred": "kernel\n6.12\n"}, "exit 9")
	v3 := r.publishWith("v3", map[string]string{"nixfleet-deferred": "kernel\n6.12\n"}, "say live")
	r.boot(v1)
	out := expect[activation.Deferred](t, r.switchTo(v2))
	if out.Component != "kernel" || out.ExitCode() != 0 {
		t.Fatalf("got %#v", out)
	}
	r.runs(v1)
	r.boots(v2)
	r.ok(r.dir.CompleteBoot(context.Background()))
	r.runs(v2)
	expect[activation.Completed](t, r.switchTo(v3)) // the same kernel runs already
	r.runs(v3)
}

func TestWhatIsNotTheReleaseItsNameSaysIsNeverSwitchedTo(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2")
	r.boot(v1)
	script := filepath.Join(r.cfg.Releases, v2, "script")
	r.ok(os.Chmod(script, 0o644))
	r.ok(os.WriteFile(script, []byte("say evil"), 0o444))
	out := expect[activation.SignatureMismatch](t, r.switchTo(v2))
	if out.ExitCode() != -2 || !strings.Contains(out.Tail(), v2) {
		t.Fatalf("got %#v", out)
	}
	r.runs(v1)
	r.boots(v1)
	entries, err := os.ReadDir(filepath.Join(r.root, "store"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("the store holds %v, %v: want v1 alone", entries, err)
	}
}

func TestAReleaseTamperedWithInTheStoreIsNeverSwitchedTo(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2")
	r.boot(v1)
	r.ok(r.dir.Realise(context.Background(), v2))
	r.ok(os.WriteFile(filepath.Join(r.root, "store", v2, "more"), nil, 0o444))
	expect[activation.SignatureMismatch](t, r.switchTo(v2))
	r.runs(v1)
}

func TestAReleaseThatIsNowhereChangesNothing(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	r.boot(v1)
	missing := strings.Repeat("a", 32) + "-v9"
	out := expect[activation.RealiseFailed](t, r.switchTo(missing))
	if out.ExitCode() != -1 || !strings.Contains(out.Tail(), missing) {
		t.Fatalf("got %#v", out)
	}
	r.boots(v1)
}

func TestAnEndingContextLeavesTheSwitchRunning(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1", "hold "+r.holds)
	ctx, cancel := context.WithCancelCause(context.Background())
	bye := errors.New("bye")
	in := r.intent(v1)
	out, err := r.run.Run(ctx, in, func() { r.awaitHold(); cancel(bye) })
	if out != nil || !errors.Is(err, bye) {
		t.Fatalf("got %v, %v", out, err)
	}
	r.letGo()
	out, decided, err := r.run.Resume(context.Background(), in)
	if err != nil || !decided {
		t.Fatalf("not decided: %v, %v", decided, err)
	}
	expect[activation.Completed](t, out)
}
