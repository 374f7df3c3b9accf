// Command nixfleet-cp is the control plane: `serve` (the default), `export`, `rebuild-views`, `version`.
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

	"nixfleet/controlplane"
	"nixfleet/controlplane/config"
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
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serve(ctx, args, stderr)
	case "export":
		err = export(ctx, args, stdout, stderr)
	case "rebuild-views":
		err = rebuildViews(ctx, args, stdout)
	case "version":
		_, err = fmt.Fprintln(stdout, "nixfleet-cp", controlplane.Version)
	default:
		err = fmt.Errorf("%w: no command %q, want serve, export, rebuild-views or version", config.ErrConfig, command)
	}
	return exitCode(err, stdout, stderr)
}

func exitCode(err error, stdout, stderr io.Writer) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, flag.ErrHelp):
		if _, err := fmt.Fprint(stdout, usage+config.Usage()); err != nil {
			return exitReach
		}
		return exitDone
	}
	_, werr := fmt.Fprintln(stderr, "nixfleet-cp:", err)
	switch {
	case werr != nil:
		return exitReach
	case errors.Is(err, errNo):
		return exitNo
	case errors.Is(err, config.ErrConfig):
		return exitUsage
	}
	return exitReach
}
