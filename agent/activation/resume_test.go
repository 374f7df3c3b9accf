package activation_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/agent/activation"
)

func (r *rig) resume(in activation.Intent) (activation.Outcome, bool) {
	r.t.Helper()
	out, decided, err := r.run.Resume(context.Background(), in)
	r.ok(err)
	return out, decided
}

func TestAnAgentKilledInTheMiddleOfASwitchFindsItAgainByName(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "hold "+r.holds, "say survived")
	r.boot(v1)
	in := r.intent(v2)
	r.killedAgent(in)
	state, err := r.dir.Unit(context.Background(), in.Unit)
	if err != nil || !state.Running {
		t.Fatalf("the switch died with the agent: %+v, %v", state, err)
	}
	r.letGo()
	out, decided := r.resume(in)
	if c := expect[activation.Completed](t, out); !decided || c.Output != "survived\n" {
		t.Fatalf("got %#v, %v", out, decided)
	}
	r.runs(v2)
}

func TestAResultWrittenWhileNoAgentRanDecides(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "hold "+r.holds, "exit 3")
	r.boot(v1)
	in := r.intent(v2)
	r.killedAgent(in)
	r.letGo()
	r.awaitEnd(in.Unit)
	out, decided := r.resume(in)
	if f := expect[activation.SwitchFailed](t, out); !decided || f.Exit != 3 {
		t.Fatalf("got %#v, %v", out, decided)
	}
}

// awaitEnd returns when the unit's process is gone: its pidfd becomes readable then.
func (r *rig) awaitEnd(unit string) {
	r.t.Helper()
	fd, err := unix.PidfdOpen(r.unitPID(unit), 0)
	if err == unix.ESRCH {
		return
	}
	r.ok(err)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			r.t.Fatalf("the unit does not end: %v", err)
		}
		r.ok(unix.Close(fd))
		return
	}
}

func TestATimeoutCountsFromTheFiringWhoeverWatches(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "hold "+r.holds)
	r.boot(v1)
	in := r.intent(v2)
	r.killedAgent(in)
	in.Timeout = time.Nanosecond
	out, decided := r.resume(in)
	expect[activation.TimedOut](t, out)
	if !decided {
		t.Fatal("not decided")
	}
}

func TestAHelperThatIsKilledTakesItsProgramWithItAndIsToldLost(t *testing.T) {
	r := newRig(t)
	v1, v2 := r.publish("v1"), r.publish("v2", "say half way", "hold "+r.holds)
	r.boot(v1)
	in := r.intent(v2)
	out, err := r.run.Run(context.Background(), in, func() {
		r.awaitHold()
		for said := ""; said == ""; { // what was said reaches the file through the helper
			state, err := r.dir.Unit(context.Background(), in.Unit)
			r.ok(err)
			said = state.Output
		}
		r.ok(unix.Kill(r.unitPID(in.Unit), unix.SIGKILL))
	})
	r.ok(err)
	f := expect[activation.SwitchFailed](t, out)
	if f.Phase != activation.PhaseLost || f.Exit != activation.ExitLost || f.Output != "half way\n" {
		t.Fatalf("got %#v", f)
	}
	// The pipe has no reader once the program is gone.
	fd, err := unix.Open(filepath.Join(r.holds, "go"), unix.O_WRONLY|unix.O_NONBLOCK, 0)
	for ; err == nil; fd, err = unix.Open(filepath.Join(r.holds, "go"), unix.O_WRONLY|unix.O_NONBLOCK, 0) {
		r.ok(unix.Close(fd))
	}
	if err != unix.ENXIO {
		t.Fatal(err)
	}
}

func TestWithoutUnitAndResultOnlyCurrentSystemAndProfileTogetherMeanCompleted(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	v1, v2 := r.publish("v1"), r.publish("v2")
	r.boot(v1)
	in := r.intent(v2)
	if out, decided := r.resume(in); decided {
		t.Fatalf("decided %#v on the prior closure", out)
	}
	r.ok(r.dir.Realise(ctx, v2))
	r.ok(r.dir.SetProfile(ctx, v2))
	if out, decided := r.resume(in); decided {
		t.Fatalf("decided %#v by the profile alone", out)
	}
	r.ok(r.dir.CompleteBoot(ctx))
	r.ok(r.dir.SetProfile(ctx, v1))
	if out, decided := r.resume(in); decided {
		t.Fatalf("decided %#v by current-system alone", out)
	}
	r.ok(r.dir.SetProfile(ctx, v2))
	out, decided := r.resume(in)
	expect[activation.Completed](t, out)
	if !decided {
		t.Fatal("not decided though both say the target")
	}
}

func TestTheResultOfAnotherClosureDecidesNothing(t *testing.T) {
	r := newRig(t)
	v1, v2, v3 := r.publish("v1"), r.publish("v2", "exit 1"), r.publish("v3")
	r.boot(v1)
	expect[activation.SwitchFailed](t, r.switchTo(v2))
	in := r.intent(v3) // the same unit name
	if out, decided := r.resume(in); decided {
		t.Fatalf("decided %#v", out)
	}
}

func TestARecycledProcessIDIsNotTakenForTheUnit(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	in := r.intent(v1)
	expect[activation.Completed](t, r.switchTo(v1))
	path := filepath.Join(r.root, "units", in.Unit, "process.json")
	data, err := os.ReadFile(path)
	r.ok(err)
	for name, change := range map[string]func(map[string]any){
		"another start": func(p map[string]any) { p["pid"] = os.Getpid() },
		"another boot": func(p map[string]any) {
			p["pid"] = os.Getpid()
			p["started"].(map[string]any)["bootId"] = "earlier"
		},
		"init":          func(p map[string]any) { p["pid"] = 1 },
		"a group":       func(p map[string]any) { p["pid"] = -1 },
		"everyone else": func(p map[string]any) { p["pid"] = 0 },
	} {
		var p map[string]any
		r.ok(json.Unmarshal(data, &p))
		change(p)
		changed, err := json.Marshal(p)
		r.ok(err)
		r.ok(os.WriteFile(path, changed, 0o600))
		state, err := r.dir.Unit(context.Background(), in.Unit)
		if err != nil || state.Running {
			t.Errorf("%s: %+v, %v", name, state, err)
		}
		r.ok(r.dir.Stop(context.Background(), in.Unit)) // and is not killed
	}
}

func TestAUnitIsNotFiredTwice(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1", "hold "+r.holds)
	ctx := context.Background()
	r.ok(r.dir.Realise(ctx, v1))
	unit := r.intent(v1).Unit
	r.ok(r.dir.Switch(ctx, v1, unit))
	r.awaitHold()
	if err := r.dir.Switch(ctx, v1, unit); err == nil {
		t.Fatal("fired again while it runs")
	}
	if busy, err := r.dir.Busy(ctx); !busy || err != nil {
		t.Fatalf("not busy while a switch runs: %v", err)
	}
	r.letGo()
	r.awaitEnd(unit)
}

func TestTheHelperToldNothingSaysWhoMayStartIt(t *testing.T) {
	for _, args := range [][]string{nil, {"-no-such"}, {"-root", "/x", "extra"}} {
		var said strings.Builder
		if code := activation.Helper(args, &said); code != 2 || !strings.Contains(said.String(), "started by the agent") {
			t.Errorf("%v: exit %d, %q", args, code, said.String())
		}
	}
	var said strings.Builder
	if code := activation.Helper([]string{"-unit", "u", "-closure", "../x"}, &said); code != 3 {
		t.Errorf("exit %d, %q", code, said.String())
	}
}
