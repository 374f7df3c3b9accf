// Package core decides what the control plane does: the mirror of every host, the planner, dispatches, holds and
// quarantines. It does no I/O, starts no goroutines and reads no clock: the reducer drives it, and so does the
// simulator.
//
//	wanted := c.Recall(batch)                    // what must be fetched: event hashes from the store, tickets
//	commit := c.Handle(batch, recalled, now)     // decides on copies; nothing in c has changed
//	err := store.Commit(ctx, &commit.Ledger)     // durable, or nothing happened: drop the commit
//	c.Applied(commit)                            // swaps the copies in
//	plan := c.Plan(recalled, now)                // then what the planner makes of it: the same three steps again
//	...                                          // answer the inputs with commit.Answers, wake commit.Wake
//
// Everything that changes the mirror is a row of the log first and is applied from that row: deciding writes the
// row, applying changes the copies, and [Rebuild] applies the rows of a log to nothing and must arrive at the same
// views.
//
// A Core belongs to one goroutine. Values in commits and answers are not changed afterwards.
//
// Implements docs/design/07-control-plane.md, and what docs/design/03-wire-protocol.md says of the control plane.
// Tests: every answer of the protocol, delivery twice and out of order, wiped and restored sides, rebuilt views.
package core
