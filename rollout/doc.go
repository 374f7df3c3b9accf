// Package rollout decides whose turn it is. It holds the pure state machine of one rollout ([Step], in the style of
// package host) and the [Planner], which turns what the control plane knows into decisions and into the one reason
// of every host that does not advance.
//
// At start, feed everything the store has, in any order, and then plan:
//
//	p := rollout.NewPlanner(rollout.DefaultSettings(), clock.Now(), emptyStore)
//	p.SetFleet(fleet.Value())                 // documents: unwrapped from trust.Verified, nothing else
//	p.SetManifest(manifest.Value(), newest)   // one per rollout that is kept; newest of its channel: true
//	p.SetRollout(rec)                         // rollouts
//	p.SetCleared(host, id, channel)
//	p.SetDispatch(host, id, channel, d)
//	p.SetRecord(rec)                          // the mirror's records
//	p.SetQuarantine(channel, closure, true)
//	p.SetHost(name, status)                   // last heartbeats, holds
//
// Then, for every batch of inputs:
//
//	p.Begin()
//	p.SetRecord(next)                         // after each accepted event
//	p.SetHost(name, status)                   // after each heartbeat
//	p.SetDispatch(host, id, channel, written) // when a dispatch went into a response
//	step, err := p.Clear(id, by, reason, now) // when an operator clears
//	actions := p.Plan(now)
//	if err := store.Commit(rows(actions)); err != nil {
//		p.Rollback()                      // nothing happened
//	} else {
//		p.Commit()
//	}
//
// The planner counts its own decisions at once, so the caller feeds back only what others do. Before a dispatch goes
// into a response, [Planner.Deliverable] checks every gate again; [Planner.Reason] explains a host at any time. Plan
// again on every tick: silence, warm-up, freshness and retention pass by time alone.
//
// A pass costs what changed: every slot (a host in a rollout) carries the counts it stands for, a change moves them,
// and a pass looks only at slots something changed for and, of a budget that got room, at those that wait for it. The
// order of decisions, and so the plan, depends on names alone.
//
// One goroutine uses a Planner; records, manifests and fleets given to it must not be written afterwards. The package
// does no I/O, starts no goroutines and reads no clock.
//
// Everything here implements docs/design/07-control-plane.md, which also says what is in flight and which gate goes
// first ([Gate]). Beyond its table of the rollout machine, a clearance is also taken in the states that are not
// halted, where it marks hosts and waives a wave of nobody but skipped hosts.
//
// Tests: a text script per gate and per row of the machine in testdata (rewritten by go test ./rollout -rewrite),
// every event in every state, properties over random fleets and events (budgets, order, one reason, incremental equals
// made anew), and benchmarks of a pass.
package rollout
