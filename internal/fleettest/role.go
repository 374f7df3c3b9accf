package fleettest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"nixfleet/agent/activation"
	"nixfleet/clock"
)

// The parts that the test program plays when it is started again.
const (
	roleSwitch = "fleettest-switch"
	roleAgent  = "fleettest-agent"
)

// parallel is how many tests run at once unless -parallel says otherwise: sites wait for soaks and probes far more than
// they compute, and one per processor would leave the processors idle.
const parallel = "6"

// Main is the TestMain of a package that uses a Site: switches, and agents that a test wants as processes of their
// own, are the test program started again.
func Main(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleSwitch:
			os.Exit(activation.Helper(os.Args[2:], os.Stderr))
		case roleAgent:
			os.Exit(actAgent(os.Args[2:]))
		}
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, "fleettest:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func actAgent(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runAgent(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "fleettest agent:", err)
		return 1
	}
	return 0
}

func runAgent(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("fleettest: %d arguments, want the settings", len(args))
	}
	clk, err := clock.System()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := openAgent(args[0], clk, log, nil)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
