package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"nixfleet/clock"
)

// A worker that failed is given time: what broke it is likely still there.
const (
	restartMin = time.Second
	restartMax = time.Minute
)

var errPanic = errors.New("panic")

// supervise runs a worker until ctx ends, starting it again after an error or a panic.
func (a *Agent) supervise(ctx context.Context, name string, run func(context.Context) error) {
	for delay := restartMin; ; delay = min(delay*2, restartMax) {
		began := a.deps.Clock.Now()
		err := guarded(ctx, run)
		if ctx.Err() != nil {
			return
		}
		a.metrics.add("worker_restarts", 1)
		a.log.Error("a worker failed and is started again", "worker", name, "error", err)
		if clock.Elapsed(began, a.deps.Clock.Now()) > restartMax {
			delay = restartMin // it ran well for a while
		}
		if clock.Sleep(ctx, a.deps.Clock, jittered(delay)) != nil {
			return
		}
	}
}

func guarded(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("agent: %w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	return run(ctx)
}
