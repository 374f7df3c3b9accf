// Package core is the agent's decisions: what one host knows about its rollouts, and what follows from each thing
// that happens to it.
//
//	c := core.New(core.Options{Hostname: "web-1", Epoch: epoch})          // or core.Open for a journal that exists
//	commit := c.Handle([]core.Input{core.AdvanceTick{Current: reading}}, now)
//	if commit.Frame != nil { append it to the journal; retry unchanged until that succeeds }
//	c.Applied(commit)
//	// only now: carry out commit.Effects, hand c.View().Intent to the activation worker
//
// A Core does no I/O, starts no goroutines and reads no clock. Handle works on copies: until Applied nothing has
// changed, so a commit that could not be written is given up, or tried again, without a trace. The reducer of package
// agent drives a Core, and so do the simulator and the replay of a recorded journal.
//
// Every change of state is a [Fact] of a frame. Handling makes facts and applies them; opening a journal reads them
// and applies them with the same code, so what is reopened is what was there. Step is run again while opening, but
// only to verify: a difference is counted, and the fact holds.
//
// A Core belongs to one goroutine. A [View] is immutable and may be read from any.
//
// Everything here implements docs/design/04-agent.md. Tests: scripts of inputs in virtual time, a table of boot
// recovery, round trips of frames, and random runs that are closed and reopened between any two commits.
package core
