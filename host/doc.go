// Package host is the heart of nixfleet: the pure state machine of one host in one rollout.
//
//	next, effects, err := host.Step(record, host.Stamped{Origin: host.Local, Seq: 7, Event: ev}, now, policy)
//
// The agent calls Step for what happens on its host (origin [Local]); the control plane calls the same function
// for what the agent reports (origin [Remote]). The origin selects which effects come out, never which record
// results: there is one body per event and one function per body, so the two sides cannot drift apart.
//
// An error means refused: the record is unchanged and there are no effects. Errors are of class [ErrSeqRegression],
// [ErrIllegal] or [ErrInvariant], checked in this order; errors.Is tells them apart.
//
// The package does no I/O, starts no goroutines and reads no clock. Step never writes through its arguments: a
// returned record may share unchanged probe entries with the one it came from, and neither ever changes them again,
// so records may be read from any goroutine.
//
// Everything here implements docs/design/02-host-state-machine.md. Tests: one text script per story in testdata
// (rewritten by go test ./host -rewrite), every event in every state, bounded exhaustive exploration, random long
// traces, and fuzzing of the codec.
package host
