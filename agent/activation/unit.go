package activation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/clock"
)

// unitName is the form of a unit's name: it becomes a folder here and may become a systemd unit elsewhere.
var unitName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

// keptUnits is how many ended units are kept for reading. Recovery reads one; the others are for people.
const keptUnits = 16

// Files of a unit.
const (
	processFile = "process.json"
	resultFile  = "result.json"
	outputFile  = "output"
)

func (d *Directory) unitDir(unit string) (string, error) {
	if !unitName.MatchString(unit) {
		return "", fmt.Errorf("%w: %q", ErrUnitName, clip(unit))
	}
	return filepath.Join(d.units(), unit), nil
}

// Switch starts the helper, which starts itself again in a session of its own, says who it is, and ends. So the
// switch is no child of the agent, holds none of its files, and its id is on disk before Switch returns.
func (d *Directory) Switch(ctx context.Context, closure, unit string) error {
	if err := checkClosure(closure); err != nil {
		return err
	}
	dir, err := d.unitDir(unit)
	if err != nil {
		return err
	}
	if state, err := d.Unit(ctx, unit); err != nil || state.Running {
		return errors.Join(fmt.Errorf("activation: fire %s: %w", unit, ErrBusy), err)
	}
	if err := errors.Join(d.forgetUnits(ctx), os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("activation: fire %s: %w", unit, err)
	}
	if len(d.cfg.Helper) == 0 {
		return errors.New("activation: no helper program is configured")
	}
	args := append(slices.Clone(d.cfg.Helper[1:]), helperArgs(d.cfg, closure, unit)...)
	cmd := exec.CommandContext(ctx, d.cfg.Helper[0], args...)
	cmd.Dir, cmd.Env = "/", helperEnv()
	// A group of its own: a Ctrl-C at the agent's terminal must not cut a start in half.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	said := &tailBuffer{}
	cmd.Stderr = said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("activation: fire %s: %w: %s", unit, err, said.String())
	}
	return nil
}

// helperEnv passes on what finds programs and nothing that the agent may know and a switch must not.
func helperEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C.UTF-8"}
}

// Unit says how the unit fares, from its files and from /proc.
func (d *Directory) Unit(_ context.Context, unit string) (UnitState, error) {
	dir, err := d.unitDir(unit)
	if err != nil {
		return UnitState{}, err
	}
	var p process
	found, err := load(filepath.Join(dir, processFile), &p)
	if err != nil || !found {
		return UnitState{}, err
	}
	running, err := p.running()
	if err != nil {
		return UnitState{}, err
	}
	state := UnitState{Running: running, Started: p.Started}
	// The result is read after the process was looked for: one that ended in between has written it.
	var res Result
	if found, err = load(filepath.Join(dir, resultFile), &res); err != nil {
		return UnitState{}, err
	}
	if found && !running {
		state.Result = &res
	}
	output, err := readBounded(filepath.Join(dir, outputFile), maxOutputFile+MaxTail)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return UnitState{}, fmt.Errorf("activation: output of %s: %w", unit, err)
	}
	state.Output = Tail(string(output))
	return state, nil
}

// running asks the kernel. The boot id comes from the machine, not from an injected clock: processes are real.
func (p process) running() (bool, error) {
	machine, err := clock.System()
	if err != nil {
		return false, err
	}
	return p.alive(machine.Now().BootID)
}

const (
	stopPoll = 50 * time.Millisecond
	// killWait is how long a killed process may take to be gone; longer and it hangs in the kernel.
	killWait = 5 * time.Second
)

// Stop asks the unit's process group to end, waits for the grace, then kills it.
func (d *Directory) Stop(ctx context.Context, unit string) error {
	dir, err := d.unitDir(unit)
	if err != nil {
		return err
	}
	var p process
	if found, err := load(filepath.Join(dir, processFile), &p); err != nil || !found {
		return err
	}
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, d.cfg.Grace}, {unix.SIGKILL, killWait}} {
		running, err := p.running()
		if err != nil || !running {
			return err
		}
		// The leader was alive an instant ago, so the group's id is still its own.
		if err := unix.Kill(-p.PID, step.signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("activation: stop %s: %w", unit, err)
		}
		if gone, err := d.awaitEnd(ctx, p, step.wait); err != nil || gone {
			return err
		}
	}
	return fmt.Errorf("activation: stop %s: process %d cannot be killed", unit, p.PID)
}

func (d *Directory) awaitEnd(ctx context.Context, p process, most time.Duration) (bool, error) {
	for began := d.clock.Now(); clock.Elapsed(began, d.clock.Now()) < most; {
		running, err := p.running()
		if err != nil || !running {
			return !running, err
		}
		if err := clock.Sleep(ctx, d.clock, stopPoll); err != nil {
			return false, err
		}
	}
	return false, nil
}

// forgetUnits removes all but the newest units that have ended.
func (d *Directory) forgetUnits(ctx context.Context) error {
	entries, err := os.ReadDir(d.units())
	if err != nil {
		return err
	}
	var ended []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		state, err := d.Unit(ctx, e.Name())
		if err == nil && !state.Running {
			ended = append(ended, info)
		}
	}
	slices.SortFunc(ended, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, info := range ended[min(keptUnits, len(ended)):] {
		if err := os.RemoveAll(filepath.Join(d.units(), info.Name())); err != nil {
			return err
		}
	}
	return nil
}
