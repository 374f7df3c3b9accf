// Command nixfleet is the operator's tool: keys, releases, status, trace, replay and the demo.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"nixfleet/cli"
	"nixfleet/demo"
)

func main() { os.Exit(run()) }

func run() int {
	// The demo starts this program again as a host's switch helper, or as an agent or control plane of its own.
	if role, args, ok := demo.Role(os.Args[1:]); ok {
		return role(args)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
