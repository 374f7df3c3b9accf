package activation_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/agent/activation"
	"nixfleet/clock"
)

// The test program is every program of these tests: the helper, the agent that is killed, and, by a symlink in each
// release, the release's own bin/switch-to-configuration. Those end by syscall.Exit,
// so that a test run with coverage adds no words of its own to their output.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "switch-to-configuration":
		syscall.Exit(playRelease())
	case len(os.Args) > 1 && os.Args[1] == "switch":
		syscall.Exit(activation.Helper(os.Args[2:], os.Stderr))
	case len(os.Args) > 2 && os.Args[1] == "agent":
		syscall.Exit(playAgent(os.Args[2]))
	case len(os.Args) > 2 && os.Args[1] == "linger":
		_, err := os.ReadFile(os.Args[2]) // a pipe: until the test writes to it
		syscall.Exit(exitOf(err))
	}
	os.Exit(m.Run())
}

func exitOf(err error) int {
	if err != nil {
		return 99
	}
	return 0
}

// playRelease does what the release's script file says, line by line.
func playRelease() int {
	script, err := os.ReadFile(filepath.Join(os.Getenv("NIXFLEET_CLOSURE"), "script"))
	for _, line := range strings.Split(strings.TrimSpace(string(script)), "\n") {
		if err != nil {
			break
		}
		verb, arg, _ := strings.Cut(line, " ")
		switch verb {
		case "say":
			_, err = fmt.Println(arg)
		case "environment":
			_, err = fmt.Println(strings.Join(os.Environ(), " "), os.Args[1])
		case "flood":
			_, err = os.Stdout.Write(append(bytes.Repeat([]byte("0123456789"), 30_000), "the end"...))
		case "deaf":
			signal.Ignore(unix.SIGTERM)
		case "hold": // says that it is here by opening one pipe, goes on when the other is written
			if err = os.WriteFile(filepath.Join(arg, "here"), nil, 0); err == nil {
				_, err = os.ReadFile(filepath.Join(arg, "go"))
			}
		case "swap":
			err = relink(os.Getenv("NIXFLEET_CURRENT_SYSTEM"), arg)
		case "profile":
			err = relink(os.Getenv("NIXFLEET_PROFILE"), arg)
		case "daemon": // left running, in a session of its own, holding the output
			cmd := exec.Command("/proc/self/exe", "linger", arg)
			cmd.Stdout, cmd.SysProcAttr = os.Stdout, &syscall.SysProcAttr{Setsid: true}
			err = cmd.Start()
		case "exit":
			var code int
			if code, err = strconv.Atoi(arg); err == nil {
				return code
			}
		}
	}
	return exitOf(err)
}

func relink(link, closure string) error {
	aside := link + ".aside"
	if err := os.Symlink(filepath.Join("/somewhere", closure), aside); err != nil {
		return err
	}
	return os.Rename(aside, link)
}

// agentJob is what the agent that is killed is told.
type agentJob struct {
	Config activation.DirectoryConfig
	Intent activation.Intent
}

func playAgent(job string) int {
	var j agentJob
	err := json.Unmarshal([]byte(job), &j)
	clk, clkErr := clock.System()
	dir, dirErr := activation.OpenDirectory(j.Config, clk)
	if errors.Join(err, clkErr, dirErr) != nil {
		return 1
	}
	r := activation.Runner{Backend: dir, Clock: clk}
	_, err = r.Run(context.Background(), j.Intent, func() { fmt.Println("fired") })
	return exitOf(err)
}

// rig is one host on the directory backend.
type rig struct {
	t     *testing.T
	root  string
	dir   *activation.Directory
	run   activation.Runner
	cfg   activation.DirectoryConfig
	holds string // folder of the pipes that "hold" uses
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir(), holds: t.TempDir()}
	exe, err := os.Executable()
	r.ok(err)
	clk, err := clock.System()
	r.ok(err)
	r.cfg = activation.DirectoryConfig{
		Root: r.root, Releases: filepath.Join(r.root, "releases"), Helper: []string{exe, "switch"}, Grace: 20 * time.Second,
	}
	r.dir, err = activation.OpenDirectory(r.cfg, clk)
	r.ok(err)
	r.run = activation.Runner{Backend: r.dir, Clock: clk, Poll: 5 * time.Millisecond}
	for _, name := range []string{"here", "go"} {
		r.ok(unix.Mkfifo(filepath.Join(r.holds, name), 0o600))
	}
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// publish makes a release that does what the script says.
func (r *rig) publish(name string, script ...string) string {
	r.t.Helper()
	return r.publishWith(name, nil, script...)
}

func (r *rig) publishWith(name string, files map[string]string, script ...string) string {
	r.t.Helper()
	src := r.t.TempDir()
	exe, err := os.Executable()
	r.ok(err)
	r.ok(os.Mkdir(filepath.Join(src, "bin"), 0o755))
	r.ok(os.Symlink(exe, filepath.Join(src, "bin", "switch-to-configuration")))
	r.ok(os.WriteFile(filepath.Join(src, "script"), []byte(name+"\n"+strings.Join(script, "\n")), 0o644))
	for path, content := range files {
		r.ok(os.WriteFile(filepath.Join(src, path), []byte(content), 0o644))
	}
	closure, err := activation.AddRelease(r.cfg.Releases, src, name)
	r.ok(err)
	return closure
}

// boot makes the host run the closure, as it would on its first day.
func (r *rig) boot(closure string) {
	r.t.Helper()
	ctx := context.Background()
	r.ok(r.dir.Realise(ctx, closure))
	r.ok(r.dir.SetProfile(ctx, closure))
	r.ok(r.dir.CompleteBoot(ctx))
}

func (r *rig) intent(closure string) activation.Intent {
	return activation.Intent{Closure: closure, Unit: activation.UnitName("edge@1", false, 1), Timeout: time.Minute}
}

func (r *rig) switchTo(closure string) activation.Outcome {
	r.t.Helper()
	return r.carryOut(r.intent(closure))
}

func (r *rig) carryOut(in activation.Intent) activation.Outcome {
	r.t.Helper()
	out, err := r.run.Run(context.Background(), in, func() {})
	r.ok(err)
	return out
}

func (r *rig) runs(closure string) {
	r.t.Helper()
	current, err := r.dir.Current(context.Background())
	if err != nil || current != closure {
		r.t.Fatalf("the host runs %q (%v), want %q", current, err, closure)
	}
}

func (r *rig) boots(closure string) {
	r.t.Helper()
	profile, err := r.dir.Profile(context.Background())
	if err != nil || profile != closure {
		r.t.Fatalf("the host would boot %q (%v), want %q", profile, err, closure)
	}
}

// awaitHold returns once a release has reached its "hold"; release lets it go on.
func (r *rig) awaitHold() {
	r.t.Helper()
	_, err := os.ReadFile(filepath.Join(r.holds, "here"))
	r.ok(err)
}

func (r *rig) letGo() {
	r.t.Helper()
	r.ok(os.WriteFile(filepath.Join(r.holds, "go"), nil, 0))
}

// overdue fires the intent, waits until the release holds, and then finds that its time is over.
func (r *rig) overdue(in activation.Intent) activation.Outcome {
	r.t.Helper()
	ctx := context.Background()
	r.ok(r.dir.Realise(ctx, in.Closure))
	r.ok(r.dir.Switch(ctx, in.Closure, in.Unit))
	r.awaitHold()
	in.Timeout = time.Nanosecond
	out, decided, err := r.run.Resume(ctx, in)
	if err != nil || !decided {
		r.t.Fatalf("decided %v, %v", decided, err)
	}
	return out
}

// unitPID reads which process the unit of the intent is.
func (r *rig) unitPID(unit string) int {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.root, "units", unit, "process.json"))
	r.ok(err)
	var p struct{ PID int }
	r.ok(json.Unmarshal(data, &p))
	return p.PID
}

// killedAgent starts an agent in a process of its own that fires the intent, and kills it, and everything of its
// process group, in the middle of the switch.
func (r *rig) killedAgent(in activation.Intent) {
	r.t.Helper()
	job, err := json.Marshal(agentJob{Config: r.cfg, Intent: in})
	r.ok(err)
	exe, err := os.Executable()
	r.ok(err)
	cmd := exec.Command(exe, "agent", string(job))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	r.ok(err)
	r.ok(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "fired\n" {
		r.t.Fatalf("the agent said %q, %v", line, err)
	}
	r.awaitHold()
	r.ok(unix.Kill(-cmd.Process.Pid, unix.SIGKILL))
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		r.t.Fatalf("the agent was to be killed: %v", err)
	}
}

func expect[T activation.Outcome](t *testing.T, out activation.Outcome) T {
	t.Helper()
	typed, ok := out.(T)
	if !ok {
		t.Fatalf("outcome is %#v, want %T", out, typed)
	}
	return typed
}
