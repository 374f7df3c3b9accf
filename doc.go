// Package nixfleet is the root of the module and holds no code: only the tests
// that keep the house in order. arch_test.go is the map of which package may
// import which, with the reason for each arrow; house_test.go holds the lint
// rules that are ordinary tests. Both run with `go test .`, read the source
// tree as it lies on disk, and are safe to run in parallel with anything.
//
// Start reading at host, the pure state machine that agent and control plane
// both run; docs/design/01-system.md has the whole picture.
package nixfleet
