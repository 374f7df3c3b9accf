package release_test

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"testing"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/release"
	"nixfleet/trust"
)

// largeFleet has n hosts in four waves, each host with its own closure and key line.
func largeFleet(b testing.TB, n int) []byte {
	b.Helper()
	f := &fleet.Fleet{
		SchemaVersion: 1, Hosts: make(map[string]fleet.Host, n),
		Channels: map[string]fleet.Channel{"stable": {RolloutPolicy: "waves", FreshnessWindow: 1440}},
		RolloutPolicies: map[string]fleet.RolloutPolicy{"waves": {OnHealthFailure: host.RollbackAndHalt, SustainedFailureSeconds: 120, ActivationTimeoutSeconds: 600, Waves: []fleet.PolicyWave{
			{Selector: fleet.Selector{Tags: []string{"w0"}}, SoakMinutes: 30},
			{Selector: fleet.Selector{Tags: []string{"w1"}}, SoakMinutes: 30},
			{Selector: fleet.Selector{Tags: []string{"w2"}}, SoakMinutes: 30},
			{Selector: fleet.Selector{All: true}},
		}}},
	}
	most := uint32(100)
	f.DisruptionBudgets = []fleet.Budget{{Selector: fleet.Selector{All: true}, MaxInFlight: &most}}
	line, err := trust.MarshalHostPubkey(key(1).Public().(ed25519.PublicKey))
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		f.Hosts[fmt.Sprintf("host-%06d.example.org", i)] = fleet.Host{
			System: "x86_64-linux", Channel: "stable", Tags: []string{fmt.Sprintf("w%d", i%4), "rack-7"}, Pubkey: line,
			ClosureHash: fmt.Sprintf("%032d-nixos-system-host-%06d-25.11", i, i),
		}
	}
	raw, err := f.Encode()
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

const largest = 100_000

func BenchmarkCanonicalFleet(b *testing.B) {
	raw := largeFleet(b, largest)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.Canonical(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFleet(b *testing.B) {
	raw := largeFleet(b, largest)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fleet.ParseFleet(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLint(b *testing.B) {
	f, err := fleet.ParseFleet(largeFleet(b, largest))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if errs := fleet.Lint(f); errs != nil {
			b.Fatal(errs)
		}
	}
}

func BenchmarkBuildTickets(b *testing.B) {
	f, err := fleet.ParseFleet(largeFleet(b, largest))
	if err != nil {
		b.Fatal(err)
	}
	id, err := fleet.NewRolloutID("stable", "s1")
	if err != nil {
		b.Fatal(err)
	}
	m, err := fleet.BuildManifest(f, id, "", now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tickets, err := fleet.BuildTickets(f, m)
		if err != nil {
			b.Fatal(err)
		}
		for t := range tickets {
			raw, err := t.Encode()
			if err == nil {
				_, err = trust.SignDocument(key(1), raw)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/largest, "ns/ticket")
}

func BenchmarkWrite(b *testing.B) {
	raw := largeFleet(b, largest)
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "public")
		r := release.Request{Fleet: raw, Refs: map[string]string{"stable": "s1"}, Dir: dir, At: now, Signer: key(1)}
		if _, err := release.Write(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOneTicketOfMany(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "public")
	write(b, release.Request{Fleet: largeFleet(b, largest), Refs: map[string]string{"stable": "s1"}, Dir: dir, At: now, Signer: key(1)})
	d, err := release.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	id, err := fleet.NewRolloutID("stable", "s1")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			tickets, err := d.Tickets(id)
			if err != nil {
				b.Fatal(err)
			}
			if err := tickets.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	tickets, err := d.Tickets(id)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read and verify", func(b *testing.B) {
		f := roots(b, key(1))
		for b.Loop() {
			doc, err := tickets.Ticket("host-054321.example.org")
			if err == nil {
				_, err = trust.VerifyTicket(doc.Raw, doc.Sig, f, now, 0)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := tickets.Close(); err != nil {
		b.Fatal(err)
	}
}
