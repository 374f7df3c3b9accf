// Command nixfleet-agent runs on every managed host, as root: `run` (the default), `check`, `switch`, `version`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"nixfleet/agent"
	"nixfleet/agent/activation"
	"nixfleet/agent/config"
)

// Exit codes, as everywhere in nixfleet.
const (
	exitDone  = 0
	exitNo    = 1 // the answer is no
	exitUsage = 2
	exitReach = 3 // could not reach or read
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "run":
		err = runAgent(ctx, args, stderr)
	case "check":
		err = check(ctx, args, stdout)
	case "switch":
		return activation.Helper(args, stderr)
	case "version":
		_, err = fmt.Fprintln(stdout, "nixfleet-agent", agent.Version)
	default:
		err = fmt.Errorf("%w: no command %q, want run, check, switch or version", config.ErrConfig, command)
	}
	return exitCode(err, stdout, stderr)
}

func exitCode(err error, stdout, stderr io.Writer) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, flag.ErrHelp):
		if _, err := fmt.Fprint(stdout, config.Usage()); err != nil {
			return exitReach
		}
		return exitDone
	case errors.Is(err, errUnfit):
		return exitNo
	}
	if _, werr := fmt.Fprintln(stderr, "nixfleet-agent:", err); werr != nil || !errors.Is(err, config.ErrConfig) {
		return exitReach
	}
	return exitUsage
}
