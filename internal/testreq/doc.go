// Package testreq says what a test needs of the machine beyond Go.
//
//	initdb := filepath.Join(testreq.Need(t, testreq.Postgres), "initdb")
//
// A test whose part is missing skips, with one line that names the Debian
// package to install. In CI that would let a test vanish unseen, so the
// variable NIXFLEET_TEST_REQUIRE turns the skip into a failure: "all" means
// nix, chromium and postgres; otherwise it is a list with commas that may also
// name systemd, which no ordinary container has. A word it does not know fails
// every test that asks, since a typing error must not switch the tests off.
//
// Need may be called from any number of tests at once: it only looks. See
// docs/design/08-operating-and-proving.md. Its own tests run this package's
// test binary again on machines made of environment variables.
package testreq
