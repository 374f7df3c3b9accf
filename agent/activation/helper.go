package activation

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/clock"
)

const (
	// lockWait is how long the helper tries for the lock. The agent saw it free before it fired; what holds it now
	// is a glance of Busy, or somebody who was faster.
	lockWait = 10 * time.Second
	lockPoll = 20 * time.Millisecond
	// pipeGrace is how long output is awaited after the program's end, when something it left behind holds the pipe.
	pipeGrace = 2 * time.Second
	// deferredFile is described at Directory. A component's name has a line of its own, as long as a file name.
	deferredFile   = "nixfleet-deferred"
	maxComponent   = 128
	maxDeferred    = 4096
	detachedOption = "detached"
)

// switchJob is one run of the helper.
type switchJob struct {
	dir      *Directory
	clock    clock.Clock
	closure  string
	unit     string
	unitDir  string
	started  clock.Reading
	stopping atomic.Bool
	output   *tailFile
}

func helperArgs(cfg DirectoryConfig, closure, unit string) []string {
	return []string{"-root", cfg.Root, "-store", cfg.Store, "-current", cfg.CurrentSystem, "-unit", unit, "-closure", closure}
}

// Helper is the main function of the process that carries out a switch; args must be the end of os.Args, since it
// starts itself again with all of them. It returns the exit code: of the first process 0 once the second runs, of
// the second 0 once the result is on disk, whatever it is. What went wrong otherwise goes to stderr.
// docs/design/06-activation-and-probes.md, 6.1.
func Helper(args []string, stderr io.Writer) int {
	if err := runHelper(args); err != nil {
		if _, werr := fmt.Fprintln(stderr, err); werr != nil {
			return 3 // nobody listens, and the exit code is all that is left to say
		}
		if errors.Is(err, errUsage) {
			return 2
		}
		return 3
	}
	return 0
}

var errUsage = errors.New("activation: switch is started by the agent, with -root -store -current -unit -closure")

func runHelper(args []string) error {
	flags := flag.NewFlagSet("switch", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var cfg DirectoryConfig
	flags.StringVar(&cfg.Root, "root", "", "")
	flags.StringVar(&cfg.Store, "store", "", "")
	flags.StringVar(&cfg.CurrentSystem, "current", "", "")
	unit := flags.String("unit", "", "")
	closure := flags.String("closure", "", "")
	detached := flags.Bool(detachedOption, false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *unit == "" || *closure == "" {
		return errors.Join(errUsage, err)
	}
	if err := checkClosure(*closure); err != nil {
		return err
	}
	clk, err := clock.System()
	if err != nil {
		return err
	}
	dir, err := OpenDirectory(cfg, clk)
	if err != nil {
		return err
	}
	unitDir, err := dir.unitDir(*unit)
	if err != nil {
		return err
	}
	j := &switchJob{dir: dir, clock: clk, closure: *closure, unit: *unit, unitDir: unitDir, started: clk.Now()}
	if *detached {
		return j.work()
	}
	return j.detach(args)
}

// detach starts this program again in a session of its own, and says on disk who it is.
func (j *switchJob) detach(args []string) error {
	// The program's file may be gone by now, with the release it came in; the running one is always there.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{os.Args[0]}, os.Args[1:len(os.Args)-len(args)]...)
	cmd.Args = append(cmd.Args, "-"+detachedOption)
	cmd.Args = append(cmd.Args, args...)
	cmd.Dir, cmd.Env = "/", os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("activation: detach: %w", err)
	}
	// Unreaped, the child keeps its entry in /proc even if it has ended already.
	if err := j.register(cmd.Process.Pid); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	return nil
}

// register writes who the unit is. Parent and child both do, with the same content, so that it is there when the
// parent returns and even if the parent is killed before.
func (j *switchJob) register(pid int) error {
	ticks, err := startTicks(pid)
	if errors.Is(err, errGone) {
		return nil // it ended already, and wrote the file itself
	}
	if err != nil {
		return err
	}
	return store(filepath.Join(j.unitDir, processFile), process{
		Unit: j.unit, Closure: j.closure, PID: pid, Ticks: ticks, Started: j.started,
	})
}

// work is the switch itself.
func (j *switchJob) work() (err error) {
	// Asked to end, the helper stays until its program has ended, to tell how. SIGHUP and SIGINT have no meaning in
	// a session without a terminal.
	asked := make(chan os.Signal, 1) // 1: being asked twice is being asked
	signal.Notify(asked, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	go func() {
		<-asked
		j.stopping.Store(true)
	}()
	if err := os.MkdirAll(j.unitDir, 0o700); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	if err := j.register(os.Getpid()); err != nil {
		return err
	}
	j.output, err = openTailFile(filepath.Join(j.unitDir, outputFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.output.Close()) }()
	res := j.attempt()
	res.Unit, res.Closure = j.unit, j.closure
	res.Output = Tail(j.output.String())
	res.Started, res.Ended = j.started, j.clock.Now()
	return store(filepath.Join(j.unitDir, resultFile), res)
}

// attempt switches under the lock and says how far it came.
func (j *switchJob) attempt() Result {
	lock, err := j.awaitLock()
	if err != nil {
		return j.failed(PhaseLock, err)
	}
	res := j.locked()
	if err := lock.Close(); err != nil {
		return j.failed(PhaseLock, err)
	}
	return res
}

func (j *switchJob) locked() Result {
	component, err := j.deferred()
	if err != nil {
		return j.failed(PhaseSwitch, err)
	}
	if component != "" {
		return Result{Phase: PhaseDone, Component: component}
	}
	exit, err := j.run()
	switch {
	case err != nil:
		return j.failed(PhaseSwitch, err)
	case j.stopping.Load():
		return Result{Phase: PhaseStopped, Exit: exit}
	case exit != 0:
		return Result{Phase: PhaseSwitch, Exit: exit}
	}
	if err := j.dir.point(j.dir.cfg.CurrentSystem, j.closure); err != nil {
		return j.failed(PhaseActivate, err)
	}
	return Result{Phase: PhaseDone}
}

// failed is the result of a phase that did not get as far as an exit code.
func (j *switchJob) failed(phase Phase, err error) Result {
	j.output.say([]byte(err.Error() + "\n"))
	return Result{Phase: phase, Exit: ExitLost}
}

func (j *switchJob) awaitLock() (*os.File, error) {
	for {
		lock, err := j.dir.takeLock()
		if !errors.Is(err, ErrBusy) {
			return lock, err
		}
		if j.stopping.Load() || clock.Elapsed(j.started, j.clock.Now()) > lockWait {
			return nil, err
		}
		if err := clock.Sleep(context.Background(), j.clock, lockPoll); err != nil {
			return nil, err
		}
	}
}

// deferred returns the component because of which this release can only be set for boot, "" if there is none.
func (j *switchJob) deferred() (string, error) {
	wanted, err := readBounded(filepath.Join(j.dir.release(j.closure), deferredFile), maxDeferred)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("activation: %s: %w", deferredFile, err)
	}
	running, err := readBounded(filepath.Join(j.dir.cfg.CurrentSystem, deferredFile), maxDeferred)
	if err == nil && string(running) == string(wanted) {
		return "", nil
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(wanted)), "\n")
	line = strings.ToValidUTF8(strings.TrimSpace(line), "?")
	if line == "" || len(line) > maxComponent {
		return "", fmt.Errorf("activation: %s: want a component of 1 to %d bytes in its first line", deferredFile, maxComponent)
	}
	return line, nil
}

// run runs the release's program and returns its exit code, 128+n if signal n ended it.
func (j *switchJob) run() (int32, error) {
	// The kernel kills the program when the thread that started it ends: a helper that is killed must not leave a
	// switch that nobody knows of. So the thread is kept.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	release, cfg := j.dir.release(j.closure), j.dir.cfg
	cmd := exec.Command(filepath.Join(release, "bin", "switch-to-configuration"), "switch")
	cmd.Dir = "/"
	cmd.Env = append(helperEnv(), "NIXFLEET_ROOT="+cfg.Root, "NIXFLEET_CLOSURE="+release,
		"NIXFLEET_CURRENT_SYSTEM="+cfg.CurrentSystem, "NIXFLEET_PROFILE="+j.dir.profile())
	cmd.Stdout, cmd.Stderr = j.output, j.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = pipeGrace
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return 0, fmt.Errorf("activation: %w", err)
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int32(status.Signal()), nil
	}
	return int32(cmd.ProcessState.ExitCode()), nil
}
