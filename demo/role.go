package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"nixfleet/agent/activation"
	"nixfleet/clock"
)

// The roles in which the demo starts this program again. They are no commands: nobody types them.
const (
	roleSwitch       = "demo-switch"
	roleAgent        = "demo-agent"
	roleControlPlane = "demo-control-plane"
)

// Role returns what the program is to be if it was started by a demo: the function to run, and its arguments. Call it
// before anything else in main.
func Role(args []string) (role func(args []string) int, rest []string, ok bool) {
	if len(args) == 0 {
		return nil, nil, false
	}
	switch args[0] {
	case roleSwitch:
		return func(a []string) int { return activation.Helper(a, os.Stderr) }, args[1:], true
	case roleAgent:
		return runRole(1, actAgent), args[1:], true
	case roleControlPlane:
		return runRole(2, actControlPlane), args[1:], true
	}
	return nil, nil, false
}

// act is a part to play until told to end.
type act func(ctx context.Context, args []string, clk clock.Clock, log *slog.Logger) error

// runRole runs a part that takes n arguments.
func runRole(n int, a act) func([]string) int {
	return func(args []string) int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := acted(ctx, n, args, a); err != nil {
			fmt.Fprintln(os.Stderr, "nixfleet demo:", err)
			return 1
		}
		return 0
	}
}

func acted(ctx context.Context, n int, args []string, a act) error {
	if len(args) != n {
		return fmt.Errorf("%w: %d arguments, want %d", ErrOptions, len(args), n)
	}
	clk, err := clock.System()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	return a(ctx, args, clk, log)
}

func actAgent(ctx context.Context, args []string, clk clock.Clock, log *slog.Logger) error {
	a, err := openAgent(args[0], clk, log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
