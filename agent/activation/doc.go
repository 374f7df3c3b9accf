// Package activation switches a host from one closure to another and says truthfully how that ended.
//
// A [Backend] knows one way of holding closures and switching to them; [Directory] is the one that works on any
// Linux. A [Runner] carries out one [Intent] on a backend, in the one order that both directions share: wait until
// no other switch runs, realise the closure, set the profile, fire the switch detached, watch it until it ended,
// became a third closure or timed out, and correct the profile. The answer is an [Outcome].
//
//	r := activation.Runner{Backend: backend, Clock: clk}
//	outcome, err := r.Run(ctx, intent, func() { /* the switch was fired */ })
//
// A fired switch belongs to nobody: it runs in a process of its own under the name [Intent].Unit, outlives the
// agent, and leaves a result file. After a restart [Runner.Resume] looks for that name and goes on watching, reads
// the result, or says that the switch must be fired again.
//
// [Helper] is the main function of that process. It is the agent's own program, started as `nixfleet-agent switch`.
//
// A Runner is used by one goroutine at a time, the activation worker: two switches never run at once. A Directory
// has no state in memory and may be used from several goroutines and processes.
//
// Everything here implements docs/design/06-activation-and-probes.md, 6.1, and the recovery rules of
// docs/design/04-agent.md, 4.4. Tests use real directories, real processes, and kills at the worst moments; the
// test program starts itself as the helper.
package activation
