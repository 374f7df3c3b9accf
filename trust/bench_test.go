package trust_test

import (
	"crypto/ed25519"
	"testing"

	"nixfleet/trust"
)

// envelope is what a host sends most: one probe's result.
var envelope = []byte(`{"hostname":"host-000123.example.org","rolloutId":"stable@0123456789abcdef0123456789abcdef01234567","event":{"kind":"ProbeResult",` +
	`"probeName":"http","mode":"enforce","status":"pass","observedAt":"2026-01-02T12:00:00.123456789Z","seq":12},"epoch":"0123456789abcdef0123456789abcdef"}`)

func BenchmarkSignHost(b *testing.B) {
	_, key := signer(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.SignHost(key, envelope); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyHost(b *testing.B) {
	_, key := signer(b, 1)
	sig, err := trust.SignHost(key, envelope)
	if err != nil {
		b.Fatal(err)
	}
	pub := key.Public().(ed25519.PublicKey)
	b.ReportAllocs()
	for b.Loop() {
		if err := trust.VerifyHost(pub, envelope, sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalEnvelope(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.Canonical(envelope); err != nil {
			b.Fatal(err)
		}
	}
}

// What the signature alone costs, to compare with.
func BenchmarkEd25519Verify(b *testing.B) {
	_, key := signer(b, 1)
	pub, sig := key.Public().(ed25519.PublicKey), ed25519.Sign(key, envelope)
	for b.Loop() {
		if !ed25519.Verify(pub, envelope, sig) {
			b.Fatal("not verified")
		}
	}
}
