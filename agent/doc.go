// Package agent is the runtime on a managed host: one reducer that decides, and workers that see and do.
//
//	a, err := agent.New(cfg, agent.Deps{Clock: clk, Backend: backend, Logger: logger})
//	err = a.Run(ctx) // until ctx ends; everything it started is joined when it returns
//
// The reducer is the only goroutine that touches the core (package agent/core) and the journal's end. Workers send
// it inputs through one channel and never wait for one another; what they need to know they read from the last
// View, an immutable value. Nothing is done before the commit that decided it is durable: commit, then act.
//
// A worker that fails or panics is restarted with backoff and counted. The reducer's own panic ends the process:
// the journal is the truth, and starting again from it is the recovery.
//
// Everything here implements docs/design/04-agent.md, and the agent's half of docs/design/03-wire-protocol.md.
// Tests run the whole runtime in testing/synctest bubbles against a small control plane over pipes, with a leak
// check, and on disks that fail and fill.
package agent
