// Package replay runs recorded logs through the host state machine and says what every step does.
//
//	malformed, err := replay.JSONL(os.Stdin, os.Stdout)
//
// [JSONL] is the form for people and other programs: one JSON line in, one JSON line out, described in
// docs/design/08-operating-and-proving.md, section 8.1. It decides nothing by itself: events are read by package wire
// and taken by host.Step, the same code that agents and control planes run.
//
// Nothing here is shared between calls; each call belongs to one goroutine. Tests: scripts in testdata (rewritten by
// go test ./replay -rewrite) and a fuzz test that holds any input to the form of the output.
package replay
