package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/host"
	"nixfleet/strictjson"
)

const (
	// outputLimit is how much output of a command is kept; the rest is read and dropped, so that it never blocks.
	outputLimit = 64 << 10
	// pipeGrace is how long a command's output is awaited after its end, when something it left behind holds it.
	pipeGrace = time.Second
	// maxArgs bounds a command, far above any in use and far below what a kernel takes.
	maxArgs = 256
)

// execCheck passes when the command ends with the exit code. The command is the leader of a process group of its
// own, which dies with it.
type execCheck struct {
	command []string
	exit    int
}

func parseExec(o *strictjson.Object) (Check, time.Duration) {
	c := &execCheck{command: o.Strings("command"), exit: int(number(o, "expectExitCode", 0, 0, 255))}
	if len(c.command) == 0 || len(c.command) > maxArgs || c.command[0] == "" {
		o.Fail("command", "want 1 to %d arguments, the program first", maxArgs)
	}
	for _, arg := range c.command {
		if strings.ContainsRune(arg, 0) {
			o.Fail("command", "an argument has a NUL byte")
		}
	}
	return c, seconds(o, "timeoutSecs", 10*time.Second, time.Second, MaxTimeout)
}

func (c *execCheck) Run(ctx context.Context) ([]host.SubResult, error) {
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	out := &head{limit: outputLimit}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	// The agent's own environment may hold what a check must not see.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=/"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		// The command ended, something it started holds its output: the group still exists, so its id is ours.
		if killErr := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); killErr != nil && !errors.Is(killErr, unix.ESRCH) {
			return nil, fmt.Errorf("exec: kill what the command left behind: %w", killErr)
		}
		err = nil
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("exec: %w", err)
	}
	state := cmd.ProcessState
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return nil, fmt.Errorf("exec: killed by %s%s", status.Signal(), out.quoted())
	}
	if state.ExitCode() != c.exit {
		return nil, fmt.Errorf("exec: exit %d, want %d%s", state.ExitCode(), c.exit, out.quoted())
	}
	return nil, nil
}

// head keeps the first bytes written to it and takes all others. exec gives it one writer.
type head struct {
	limit int
	kept  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}

// quoted is the output as the end of a sentence, "" if there was none.
func (h *head) quoted() string {
	text := strings.TrimSpace(string(h.kept))
	if text == "" {
		return ""
	}
	return ": " + text
}
