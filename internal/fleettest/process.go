package fleettest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long an agent has to end when it is asked to.
const stopGrace = 10 * time.Second

// StartProcess starts the agent as a process of its own. Its transitions are not seen: see [Host.UntilState].
func (h *Host) StartProcess() {
	h.t.Helper()
	h.idle()
	self, err := os.Executable()
	h.s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, self, roleAgent, h.settings())
	cmd.Stdout, cmd.Stderr = &h.log, &h.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no orphan if the test program is killed
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	if err := cmd.Start(); err != nil {
		cancel()
		h.t.Fatal(err)
	}
	h.pid = cmd.Process.Pid
	h.agent = &part{cancel: cancel, ended: make(chan error, 1)}
	ended := h.agent.ended
	go func() {
		err := cmd.Wait()
		if errors.Is(err, context.Canceled) { // it ended well, because it was asked to
			err = nil
		}
		ended <- err
	}()
}

// FullDisk lets no file of the agent's process grow, or lets all of them grow again.
func (h *Host) FullDisk(full bool) {
	h.t.Helper()
	var limit unix.Rlimit
	h.s.must(unix.Prlimit(h.pid, unix.RLIMIT_FSIZE, nil, &limit))
	limit.Cur = limit.Max
	if full {
		limit.Cur = 0
	}
	h.s.must(unix.Prlimit(h.pid, unix.RLIMIT_FSIZE, &limit, nil))
}
