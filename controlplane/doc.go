// Package controlplane is the router: it distributes signed documents, times the waves and mirrors what agents report.
//
//	cp, err := controlplane.New(ctx, config, controlplane.Deps{Clock: clk, Logger: log})
//	err = cp.Run(ctx) // until ctx ends; then everything is joined and closed
//
// Handlers and pollers send inputs to one goroutine, the reducer. It takes a batch, lets controlplane/core decide on
// copies, commits once to controlplane/store, swaps the copies in, answers the waiting requests and wakes the parked
// polls. A commit that fails changes nothing and is answered 503. More than 1,024 waiting inputs are answered 503 too.
//
// A ControlPlane runs once. Its goroutines are the reducer, one that looks at the documents, one that ticks, and those
// of its HTTP servers; Run returns when all have ended.
//
// Implements docs/design/07-control-plane.md. Tests: the whole of it over real TLS and SQLite, the hub and shutdown in
// synctest bubbles, a leak check, and benchmarks of the way of an event.
package controlplane
