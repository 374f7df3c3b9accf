// Package fleettest is a whole site for tests: an organisation's keys, a published directory, a control plane on
// SQLite behind real TLS, and hosts with an agent on the directory backend and a real HTTP service each.
//
//	func TestMain(m *testing.M) { fleettest.Main(m) }
//
//	s := fleettest.New(t, "a", "b")
//	id := s.Publish(fleettest.Release{Ref: "v1", Closure: s.Build("v1")})
//	s.StartControlPlane()
//	s.StartAgents()
//	s.UntilRollout(id, "Terminal")
//
// Nothing in it is a stand-in: it runs what the programs run, with short rhythms. Parts are started, stopped, wiped
// and put back while a test goes on; at its end everything is stopped, and whatever ended by itself fails the test.
//
// A Site belongs to its test's goroutine; only the logs are written by others. Waits look again at every tick of the
// clock until a stated limit. It is tested by its users, package acceptance above all; what it proves there is
// described in docs/design/08-operating-and-proving.md.
package fleettest
