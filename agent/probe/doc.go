// Package probe runs a host's health checks and says what they found.
//
//	decl := probe.Load(path, probe.DefaultFloor)
//	set := probe.Start(ctx, probe.Deps{Clock: clk, Emit: emit}, decl, prior)
//	...
//	set.Stop() // waits for every ticker
//
// [Load] never fails and never weakens the gate: whatever is wrong with the declarations becomes the built-in
// enforce probe "declarations", which fails with the reason. [Start] reports the topology, then runs one ticker per
// probe that is not disabled and hands what each run found to Emit, in order and together.
//
// Kinds are rows of one table (kinds.go); a kind is one file and one row. Each run gets a context that ends at the
// kind's timeout; a run that outlives it counts as failed, whatever it does later.
//
// Emit is called from one goroutine per probe, at most one call at a time for each. Everything else belongs to the
// goroutine that called Start. Everything here implements docs/design/06-activation-and-probes.md, 6.2. Tests run
// the tickers in testing/synctest bubbles, and the kinds against real listeners and real processes.
package probe
