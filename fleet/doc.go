// Package fleet reads and builds the signed documents of nixfleet: the fleet itself, the manifest of a rollout, the
// ticket of one host in one rollout, and revocations.
//
//	f, err := fleet.ParseFleet(bytes)          // what is said, checked for form
//	errs := fleet.Lint(f)                      // may it be released?
//	waves, err := fleet.ResolveWaves(f, "stable")
//	m, err := fleet.BuildManifest(f, id, fleetHash, signedAt)
//	for t := range fleet.BuildTickets(f, m) { ... }
//
// Parsing checks form and bounds: it refuses what docs/design/03-wire-protocol.md refuses of any JSON, and ignores
// fields it does not know. It does not check signatures: a parsed value is only a claim, and package trust turns it
// into a Verified one. It does not judge sense either, which is what [Lint] is for, at release time, where a human can
// still change it.
//
// A rollout id is built and parsed here and nowhere else ([RolloutID]).
//
// The package is pure: bytes in, values out. Values are not changed after they were made and may be read from any
// goroutine. It implements docs/design/05-trust.md. Tests: tables of refusals, properties of wave resolution and
// selectors, round trips of what is built, and a fuzz target for every parser.
package fleet
