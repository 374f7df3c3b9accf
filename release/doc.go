// Package release turns a fleet file into signed documents in a directory, and reads such a directory.
//
//	text, err := release.Plan(request)      // which host goes when; nothing is written
//	summary, err := release.Write(request)  // signs and publishes
//	summary, err := release.Resign(request) // the same content, signed anew, before it grows stale
//
//	dir, err := release.Open(path)
//	doc, err := dir.Fleet()                 // bytes and signature, for package trust to verify
//
// The input is a fleet.resolved.json without signature: hosts with the closure each shall run, and policies. Waves are
// resolved here. Every channel gets its ref from the request, or all of them get meta.ciCommit.
//
// A directory holds fleet.resolved.json, revocations.json and rollouts/ID.json, each with .sig beside it, and
// tickets/ID.jsonl. The fleet names the newest ref of each channel, so a release is in force when the fleet is in
// place, which is written last; what is written before it (tickets, then manifests) nobody looks for yet. A file and
// its signature are two files: while one of them is being replaced, the new signature waits under a name that holds the
// hash of what it signs, where [Dir] finds it. So a crash between any two writes leaves a directory that reads as the
// old release or as the new one, and running the same release again finishes it.
//
// What is refreshed is verified first: content that somebody else put into the directory is never signed.
//
// One writer at a time holds the directory's lock ([ErrBusy]); readers need none, from any goroutine or process. Times
// are arguments and output is deterministic but for ECDSA signatures. It implements docs/design/05-trust.md. Tests:
// publish, read back and verify, a crash before every single write, tampering with every file, and benchmarks with
// 100,000 hosts.
package release
