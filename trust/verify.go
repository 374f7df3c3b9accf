package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"nixfleet/fleet"
)

const schemaVersion = fleet.SchemaVersion

// Slack is how far clocks may be apart, either way.
const Slack = 60 * time.Second

// AnyAge, given as a window or age, leaves out the check for staleness and no other: mirroring what hosts report goes
// on with a stale document, dispatching does not ([Fresh]).
const AnyAge time.Duration = -1

// Verified holds a document that was verified. There is no other way to make one than the Verify functions of this
// package; the zero value holds nothing.
type Verified[T any] struct {
	value     T
	signedAt  time.Time
	raw, sig  []byte
	canonHash string
}

// Value returns the document, which nobody may change.
func (v Verified[T]) Value() T { return v.value }

// SignedAt returns when it says it was signed.
func (v Verified[T]) SignedAt() time.Time { return v.signedAt }

// Raw returns the bytes as received. They must not be changed.
func (v Verified[T]) Raw() []byte { return v.raw }

// Signature returns the raw signature, 64 bytes. They must not be changed.
func (v Verified[T]) Signature() []byte { return v.sig }

// Hash returns the SHA-256 of the canonical bytes in lower-case hex, "" of the zero value.
func (v Verified[T]) Hash() string { return v.canonHash }

// IsZero says whether it holds nothing.
func (v Verified[T]) IsZero() bool { return v.canonHash == "" }

// facts are what the checks after the signature look at.
type facts struct {
	schemaVersion, metaVersion uint64 // metaVersion 0: not said
	signedAt                   time.Time
	window                     time.Duration
}

func ofMeta(version uint64, m fleet.Meta, window time.Duration) facts {
	return facts{schemaVersion: version, metaVersion: m.SchemaVersion, signedAt: m.SignedAt, window: window}
}

// VerifyTicket verifies a ticket at the given time. It is fresh for its own freshnessSeconds, capped by maxAge unless
// that is 0 or [AnyAge]. Errors have the classes, and the checks the order, of docs/design/05-trust.md.
func VerifyTicket(raw, sig []byte, f *File, now time.Time, maxAge time.Duration) (Verified[*fleet.Ticket], error) {
	return verifyDocument(raw, sig, f, now, fleet.ParseTicket, func(t *fleet.Ticket) facts {
		return facts{schemaVersion: t.SchemaVersion, signedAt: t.SignedAt, window: capped(t.Freshness(), maxAge)}
	})
}

// VerifyFleet verifies a fleet. Its window is the widest of its channels', capped by maxAge unless that is 0 or
// [AnyAge]; whether one channel may be acted on, [FreshChannel] tells.
func VerifyFleet(raw, sig []byte, f *File, now time.Time, maxAge time.Duration) (Verified[*fleet.Fleet], error) {
	return verifyDocument(raw, sig, f, now, fleet.ParseFleet, func(v *fleet.Fleet) facts {
		return ofMeta(v.SchemaVersion, v.Meta, capped(v.WidestWindow(), maxAge))
	})
}

// VerifyManifest verifies the manifest of a rollout with the freshness window of its channel, or [AnyAge]. That it is
// the one asked for, [CheckRollout] tells.
func VerifyManifest(raw, sig []byte, f *File, now time.Time, window time.Duration) (Verified[*fleet.Manifest], error) {
	return verifyDocument(raw, sig, f, now, fleet.ParseManifest, func(m *fleet.Manifest) facts {
		return ofMeta(m.SchemaVersion, m.Meta, window)
	})
}

// VerifyRevocations verifies a list of revocations. An old list still revokes, so a window is for alarms only and
// [AnyAge] is what to refuse by.
func VerifyRevocations(raw, sig []byte, f *File, now time.Time, window time.Duration) (Verified[*fleet.Revocations], error) {
	return verifyDocument(raw, sig, f, now, fleet.ParseRevocations, func(r *fleet.Revocations) facts {
		return ofMeta(r.SchemaVersion, r.Meta, window)
	})
}

func capped(own, most time.Duration) time.Duration {
	switch {
	case most == AnyAge:
		return AnyAge
	case most > 0:
		return min(own, most)
	default:
		return own
	}
}

// verifyDocument does the checks in their order: parse, canonicalise, signature, schema version, signedAt, rejectBefore,
// stale, future.
func verifyDocument[T any](raw, sig []byte, f *File, now time.Time, parse func([]byte) (T, error), look func(T) facts) (Verified[T], error) {
	// What is kept must not change when the caller reuses its buffer.
	raw, sig = slices.Clone(raw), slices.Clone(sig)
	value, err := parse(raw)
	if err != nil {
		return Verified[T]{}, fmt.Errorf("%w: %w", ErrParse, err)
	}
	canonical, err := transform(raw)
	if err != nil {
		return Verified[T]{}, err
	}
	if err := f.CIRelease.verify(canonical, sig); err != nil {
		return Verified[T]{}, err
	}
	facts := look(value)
	if err := facts.check(f.CIRelease.RejectBefore, now); err != nil {
		return Verified[T]{}, err
	}
	return Verified[T]{value: value, signedAt: facts.signedAt, raw: raw, sig: sig, canonHash: Hash(canonical)}, nil
}

func (x facts) check(rejectBefore, now time.Time) error {
	if x.schemaVersion != schemaVersion {
		return fmt.Errorf("%w: %d, want %d", ErrSchemaVersion, x.schemaVersion, schemaVersion)
	}
	if x.metaVersion != 0 && x.metaVersion != schemaVersion {
		return fmt.Errorf("%w: meta says %d, want %d", ErrSchemaVersion, x.metaVersion, schemaVersion)
	}
	if x.signedAt.IsZero() {
		return ErrNotSigned
	}
	if x.signedAt.Before(rejectBefore) {
		return fmt.Errorf("%w: at %s, accepted from %s", ErrRejectedBefore, stamp(x.signedAt), stamp(rejectBefore))
	}
	return CheckFresh(x.signedAt, x.window, now)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// CheckFresh says whether something signed then may be acted on now: not older than the window plus [Slack]
// ([ErrStale]) and not further ahead than Slack ([ErrFutureDated]). Both edges are still in. A window of [AnyAge] leaves
// out the first check.
func CheckFresh(signedAt time.Time, window time.Duration, now time.Time) error {
	age := now.Sub(signedAt)
	if window != AnyAge && age > saturating(window, Slack) {
		return fmt.Errorf("%w: at %s, %s ago, with a window of %s", ErrStale, stamp(signedAt), age.Round(time.Second), window)
	}
	if -age > Slack {
		return fmt.Errorf("%w: at %s, %s ahead of this clock", ErrFutureDated, stamp(signedAt), (-age).Round(time.Second))
	}
	return nil
}

// saturating adds without wrapping: the longest window there is must not become none.
func saturating(a, b time.Duration) time.Duration {
	const most = time.Duration(1<<63 - 1)
	if a > most-b {
		return most
	}
	return a + b
}

// Fresh is [CheckFresh] of a verified document.
func Fresh[T any](v Verified[T], window time.Duration, now time.Time) error {
	return CheckFresh(v.signedAt, window, now)
}

// FreshChannel says whether a fleet may still be acted on for one of its channels.
func FreshChannel(v Verified[*fleet.Fleet], channel string, now time.Time) error {
	if v.IsZero() {
		return ErrNotSigned
	}
	c, ok := v.value.Channels[channel]
	if !ok {
		return fmt.Errorf("trust: the fleet has no channel %q", channel)
	}
	return CheckFresh(v.signedAt, c.Window(), now)
}

// CheckRollout refuses, with class [ErrWrongRollout], a manifest that is not of the rollout asked for.
func CheckRollout(v Verified[*fleet.Manifest], id fleet.RolloutID) error {
	if v.IsZero() || v.value.ID() != id {
		return fmt.Errorf("%w: want %s", ErrWrongRollout, id)
	}
	return nil
}

// CheckFloor refuses, with class [ErrDowngrade], what was signed before the newest that was accepted. An equal time is
// not older: the tickets of one release share theirs.
func CheckFloor(signedAt, floor time.Time) error {
	if signedAt.Before(floor) {
		return fmt.Errorf("%w: signed %s, accepted before %s", ErrDowngrade, stamp(signedAt), stamp(floor))
	}
	return nil
}

// PolicyHash returns the hash that names what a ticket decides: the SHA-256, in lower-case hex, of the canonical
// {hostname, rolloutId, channel, wave, targetClosure, soakSeconds, policy}. Signing again does not change it. It is ""
// only for a ticket made up in memory with a health gate that is no JSON.
func PolicyHash(t *fleet.Ticket) string {
	data, err := t.EncodeCommitment()
	if err != nil {
		return ""
	}
	canonical, err := Canonical(data)
	if err != nil {
		return ""
	}
	return Hash(canonical)
}

// Class returns the name of an error's class, such as "stale", for metrics and heartbeats; "" if it has none.
func Class(err error) string {
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return ""
}

// classes is looked at in order, so that the first cause is named.
var classes = []struct {
	err  error
	name string
}{
	{ErrParse, "parse"},
	{ErrBadSignature, "bad-signature"},
	{ErrUnsupportedAlgorithm, "unsupported-algorithm"},
	{ErrNoTrustRoots, "no-trust-roots"},
	{ErrSchemaVersion, "schema-version"},
	{ErrNotSigned, "not-signed"},
	{ErrRejectedBefore, "rejected-before"},
	{ErrStale, "stale"},
	{ErrFutureDated, "future-dated"},
	{ErrDowngrade, "downgrade"},
	{ErrUnsafeInteger, "unsafe-integer"},
	{ErrWrongRollout, "wrong-rollout"},
	{ErrTokenExpired, "token-expired"},
	{ErrTokenClaims, "token-claims"},
}
