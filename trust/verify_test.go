package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/trust"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// signer gives a key that is the same for the same seed, and its entry in a trust file.
func signer(t testing.TB, seed byte) (*trust.Key, ed25519.PrivateKey) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
	return publicOf(t, key), key
}

func publicOf(t testing.TB, key crypto.Signer) *trust.Key {
	t.Helper()
	pub, err := trust.PublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &pub
}

func believing(keys ...*trust.Key) *trust.File {
	f := &trust.File{}
	if len(keys) > 0 {
		f.CIRelease.Current = keys[0]
	}
	if len(keys) > 1 {
		f.CIRelease.Previous = keys[1]
	}
	return f
}

// ticket is one with the given members put over the usual ones; "" leaves one out.
func ticket(over map[string]string) []byte {
	members := map[string]string{
		"schemaVersion": "1", "hostname": `"web-01"`, "rolloutId": `"stable@c1"`, "channel": `"stable"`, "wave": "2",
		"targetClosure": `"abc-nixos"`, "soakSeconds": "60", "freshnessSeconds": "3600", "fleetHash": `"` + strings.Repeat("ab", 32) + `"`,
		"policy":   `{"onHealthFailure":"halt","sustainedFailureSeconds":120,"activationTimeoutSeconds":600,"healthGate":{}}`,
		"signedAt": `"` + now.Format(time.RFC3339) + `"`,
	}
	for k, v := range over {
		members[k] = v
	}
	var parts []string
	for k, v := range members {
		if v != "" {
			parts = append(parts, fmt.Sprintf("%q: %s", k, v))
		}
	}
	return []byte("{" + strings.Join(parts, ", ") + "}")
}

func mustSign(t testing.TB, key crypto.Signer, raw []byte) []byte {
	t.Helper()
	sig, err := trust.SignDocument(key, raw)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func at(d time.Duration) string { return `"` + now.Add(d).Format(time.RFC3339Nano) + `"` }

func TestEachRefusalHasItsClass(t *testing.T) {
	pub, key := signer(t, 1)
	_, stranger := signer(t, 2)
	unknown := &trust.Key{Algorithm: "ml-dsa-65", Public: "x"}
	rejecting := believing(pub)
	rejecting.CIRelease.RejectBefore = now
	for name, c := range map[string]struct {
		over  map[string]string
		by    ed25519.PrivateKey
		roots *trust.File
		want  error
	}{
		"nothing is wrong":                 {nil, key, believing(pub), nil},
		"no JSON":                          {map[string]string{"wave": "nope"}, nil, believing(pub), trust.ErrParse},
		"a field of the wrong kind":        {map[string]string{"wave": `"2"`}, key, believing(pub), trust.ErrParse},
		"a number without canonical form":  {map[string]string{"later": "1e999"}, nil, believing(pub), trust.ErrParse},
		"a duplicate key":                  {map[string]string{"later": `{"a":1,"a":1}`}, nil, believing(pub), trust.ErrParse},
		"a stranger's signature":           {nil, stranger, believing(pub), trust.ErrBadSignature},
		"no signature":                     {nil, nil, believing(pub), trust.ErrBadSignature},
		"no key in the trust file":         {nil, key, believing(), trust.ErrNoTrustRoots},
		"only keys of another algorithm":   {nil, key, believing(unknown, unknown), trust.ErrUnsupportedAlgorithm},
		"another algorithm is skipped":     {nil, key, believing(unknown, pub), nil},
		"schema version 2":                 {map[string]string{"schemaVersion": "2"}, key, believing(pub), trust.ErrSchemaVersion},
		"schema version 0":                 {map[string]string{"schemaVersion": "0"}, key, believing(pub), trust.ErrSchemaVersion},
		"no signedAt":                      {map[string]string{"signedAt": ""}, key, believing(pub), trust.ErrNotSigned},
		"signedAt null":                    {map[string]string{"signedAt": "null"}, key, believing(pub), trust.ErrNotSigned},
		"a second before rejectBefore":     {map[string]string{"signedAt": at(-time.Second)}, key, rejecting, trust.ErrRejectedBefore},
		"at rejectBefore":                  {map[string]string{"signedAt": at(0)}, key, rejecting, nil},
		"as old as window and slack":       {map[string]string{"signedAt": at(-3660 * time.Second)}, key, believing(pub), nil},
		"older than window and slack":      {map[string]string{"signedAt": at(-3660*time.Second - 1)}, key, believing(pub), trust.ErrStale},
		"as far ahead as the slack":        {map[string]string{"signedAt": at(time.Minute)}, key, believing(pub), nil},
		"further ahead than the slack":     {map[string]string{"signedAt": at(time.Minute + 1)}, key, believing(pub), trust.ErrFutureDated},
		"fields nobody knows stay signed":  {map[string]string{"later": `{"b":[1],"a":2}`}, key, believing(pub), nil},
		"the key before is still believed": {nil, key, believing(publicOf(t, stranger), pub), nil},
	} {
		raw := ticket(c.over)
		var sig []byte
		if c.by != nil {
			sig = mustSign(t, c.by, raw)
		}
		v, err := trust.VerifyTicket(raw, sig, c.roots, now, 0)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if v.IsZero() != (err != nil) {
			t.Errorf("%s: a value comes with %v", name, err)
		}
		if c.want != nil && trust.Class(err) == "" {
			t.Errorf("%s: the class has no name", name)
		}
	}
}

// Each document is wrong in its own way and in every way that is looked for later.
func TestTheChecksComeInTheirOrder(t *testing.T) {
	pub, key := signer(t, 1)
	roots := believing(pub)
	roots.CIRelease.RejectBefore = now.Add(-time.Hour)
	wrong := []struct {
		over map[string]string
		want error
	}{
		{map[string]string{"wave": "-1"}, trust.ErrParse},
		{map[string]string{"later": "1e999"}, trust.ErrParse},
		{nil, trust.ErrBadSignature},
		{map[string]string{"schemaVersion": "3"}, trust.ErrSchemaVersion},
		{map[string]string{"signedAt": ""}, trust.ErrNotSigned},
		{map[string]string{"signedAt": at(-3 * time.Hour)}, trust.ErrRejectedBefore},
		{map[string]string{"signedAt": at(-30 * time.Minute), "freshnessSeconds": "60"}, trust.ErrStale},
		{map[string]string{"signedAt": at(2 * time.Minute)}, trust.ErrFutureDated},
	}
	for i, first := range wrong {
		over := map[string]string{}
		for _, later := range wrong[i:] {
			for k, v := range later.over {
				if _, taken := over[k]; !taken {
					over[k] = v
				}
			}
		}
		raw := ticket(over)
		var sig []byte
		if i > 2 {
			sig = mustSign(t, key, raw)
		}
		if _, err := trust.VerifyTicket(raw, sig, roots, now, 0); !errors.Is(err, first.want) {
			t.Errorf("%d: %v, want %v", i, err, first.want)
		}
	}
}

func TestAnAgentsOwnLimitCapsTheTickets(t *testing.T) {
	pub, key := signer(t, 1)
	raw := ticket(map[string]string{"signedAt": at(-10 * time.Minute)})
	sig := mustSign(t, key, raw)
	for age, want := range map[time.Duration]error{0: nil, 9 * time.Minute: nil, 9*time.Minute - 1: trust.ErrStale, 48 * time.Hour: nil, trust.AnyAge: nil} {
		if _, err := trust.VerifyTicket(raw, sig, believing(pub), now, age); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", age, err, want)
		}
	}
	// The cap never widens.
	old := ticket(map[string]string{"signedAt": at(-2 * time.Hour)})
	if _, err := trust.VerifyTicket(old, mustSign(t, key, old), believing(pub), now, 48*time.Hour); !errors.Is(err, trust.ErrStale) {
		t.Error(err)
	}
	ahead := ticket(map[string]string{"signedAt": at(2 * time.Hour)})
	if _, err := trust.VerifyTicket(ahead, mustSign(t, key, ahead), believing(pub), now, trust.AnyAge); !errors.Is(err, trust.ErrFutureDated) {
		t.Errorf("any age lets the future in: %v", err)
	}
}

func TestAVerifiedValueKeepsWhatWasReceived(t *testing.T) {
	pub, key := signer(t, 1)
	raw := ticket(map[string]string{"later": `"kept"`})
	sig := mustSign(t, key, raw)
	v, err := trust.VerifyTicket(raw, sig, believing(pub), now, 0)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := trust.Canonical(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(canonical)
	want, text := fmt.Sprintf("%x", sum), string(raw)
	for i := range raw {
		raw[i] = 'x'
	}
	sig[0] ^= 1
	if string(v.Raw()) != text || v.Hash() != want || v.SignedAt() != now || v.Value().Hostname != "web-01" || v.Signature()[0] == sig[0] {
		t.Error("the value changed with the caller's buffer, or is not what was received")
	}
}

func TestEveryByteOfASignedDocumentCounts(t *testing.T) {
	pub, key := signer(t, 1)
	raw := ticket(map[string]string{"later": `"x"`})
	sig := mustSign(t, key, raw)
	canonical, err := trust.Canonical(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range canonical {
		changed := append([]byte(nil), canonical...)
		changed[i] ^= 1
		if _, err := trust.VerifyTicket(changed, sig, believing(pub), now, 0); err == nil {
			t.Errorf("byte %d: %s is accepted", i, changed)
		}
	}
	for i := range sig {
		changed := append([]byte(nil), sig...)
		changed[i] ^= 1
		if _, err := trust.VerifyTicket(raw, changed, believing(pub), now, 0); !errors.Is(err, trust.ErrBadSignature) {
			t.Errorf("signature byte %d: %v", i, err)
		}
	}
}

func TestP256SignaturesAreVerifiedLowAndHigh(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub := publicOf(t, key)
	if pub.Algorithm != trust.ECDSAP256 {
		t.Fatal(pub)
	}
	raw := ticket(nil)
	sig := mustSign(t, key, raw)
	if len(sig) != trust.SignatureSize {
		t.Fatalf("%d bytes", len(sig))
	}
	other := append([]byte(nil), sig...)
	s := new(big.Int).SetBytes(sig[32:])
	new(big.Int).Sub(elliptic.P256().Params().N, s).FillBytes(other[32:])
	for name, sig := range map[string][]byte{"as signed": sig, "the other s": other} {
		if _, err := trust.VerifyTicket(raw, sig, believing(pub), now, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	zero := make([]byte, trust.SignatureSize)
	for name, sig := range map[string][]byte{"zeros": zero, "short": sig[:63], "long": append(sig, 0), "none": nil, "swapped": append(append([]byte(nil), sig[32:]...), sig[:32]...)} {
		if _, err := trust.VerifyTicket(raw, sig, believing(pub), now, 0); !errors.Is(err, trust.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, ed := signer(t, 1)
	if _, err := trust.VerifyTicket(raw, mustSign(t, ed, raw), believing(pub), now, 0); !errors.Is(err, trust.ErrBadSignature) {
		t.Errorf("a signature of another algorithm: %v", err)
	}
}

func TestKeysThatCannotSignAreRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.SignDocument(key, []byte(`{}`)); !errors.Is(err, trust.ErrUnsupportedAlgorithm) {
		t.Error(err)
	}
	if _, err := trust.PublicKey(key); !errors.Is(err, trust.ErrUnsupportedAlgorithm) {
		t.Error(err)
	}
}

func TestTheOtherDocumentsAreVerifiedToo(t *testing.T) {
	pub, key := signer(t, 1)
	roots := believing(pub)
	meta := func(age time.Duration) string { return `"meta":{"schemaVersion":1,"signedAt":` + at(-age) + `}` }
	fleetDoc := func(age time.Duration) []byte {
		return []byte(`{"schemaVersion":1,"hosts":{},"rolloutPolicies":{},"channels":{"slow":{"rolloutPolicy":"p","freshnessWindow":60},
			"fast":{"rolloutPolicy":"p","freshnessWindow":1}},` + meta(age) + `}`)
	}
	raw := fleetDoc(30 * time.Minute)
	f, err := trust.VerifyFleet(raw, mustSign(t, key, raw), roots, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.FreshChannel(f, "slow", now); err != nil {
		t.Error(err)
	}
	if err := trust.FreshChannel(f, "fast", now); !errors.Is(err, trust.ErrStale) {
		t.Error(err)
	}
	if err := trust.FreshChannel(f, "none", now); err == nil {
		t.Error("a channel that is not there is fresh")
	}
	raw = fleetDoc(62 * time.Minute)
	if _, err := trust.VerifyFleet(raw, mustSign(t, key, raw), roots, now, 0); !errors.Is(err, trust.ErrStale) {
		t.Errorf("beyond the widest window: %v", err)
	}
	if v, err := trust.VerifyFleet(raw, mustSign(t, key, raw), roots, now, trust.AnyAge); err != nil || trust.Fresh(v, time.Hour, now) == nil {
		t.Errorf("any age: %v", err)
	}

	manifest := []byte(`{"schemaVersion":1,"channel":"stable","channelRef":"c1","fleetResolvedHash":"` + strings.Repeat("ab", 32) + `","hostSet":[],` + meta(0) + `}`)
	m, err := trust.VerifyManifest(manifest, mustSign(t, key, manifest), roots, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.CheckRollout(m, m.Value().ID()); err != nil {
		t.Error(err)
	}
	if err := trust.CheckRollout(m, fleet.RolloutID{}); !errors.Is(err, trust.ErrWrongRollout) {
		t.Error(err)
	}
	revoked := []byte(`{"schemaVersion":1,"revocations":[],"meta":{"schemaVersion":2,"signedAt":` + at(0) + `}}`)
	if _, err := trust.VerifyRevocations(revoked, mustSign(t, key, revoked), roots, now, trust.AnyAge); !errors.Is(err, trust.ErrSchemaVersion) {
		t.Errorf("the version in meta: %v", err)
	}
}

func TestTheFloorRefusesOlderAndTakesEqual(t *testing.T) {
	if err := trust.CheckFloor(now, now); err != nil {
		t.Error(err)
	}
	if err := trust.CheckFloor(now.Add(-time.Nanosecond), now); !errors.Is(err, trust.ErrDowngrade) {
		t.Error(err)
	}
	if err := trust.CheckFloor(now, time.Time{}); err != nil {
		t.Error(err)
	}
}

func TestThePolicyHashIsOverWhatTheTicketDecides(t *testing.T) {
	pub, key := signer(t, 1)
	hash := func(over map[string]string) string {
		raw := ticket(over)
		v, err := trust.VerifyTicket(raw, mustSign(t, key, raw), believing(pub), now, 0)
		if err != nil {
			t.Fatal(err)
		}
		return trust.PolicyHash(v.Value())
	}
	want := hash(nil)
	sum := sha256.Sum256([]byte(`{"channel":"stable","hostname":"web-01","policy":{"activationTimeoutSeconds":600,"healthGate":{},"onHealthFailure":"halt",` +
		`"sustainedFailureSeconds":120},"rolloutId":"stable@c1","soakSeconds":60,"targetClosure":"abc-nixos","wave":2}`))
	if want != fmt.Sprintf("%x", sum) {
		t.Errorf("the hash is %s, by hand it is %x", want, sum)
	}
	for name, over := range map[string]map[string]string{
		"signed later":    {"signedAt": at(time.Second)},
		"another fleet":   {"fleetHash": `"` + strings.Repeat("cd", 32) + `"`},
		"a longer window": {"freshnessSeconds": "7200"},
		"a field beside":  {"later": "1"},
	} {
		if hash(over) != want {
			t.Errorf("%s changes the hash", name)
		}
	}
	for name, over := range map[string]map[string]string{
		"host": {"hostname": `"web-02"`}, "rollout": {"rolloutId": `"stable@c2"`}, "wave": {"wave": "3"}, "target": {"targetClosure": `"x"`},
		"soak": {"soakSeconds": "61"}, "channel and rollout": {"channel": `"edge"`, "rolloutId": `"edge@c1"`},
		"a field of the policy we do not know": {"policy": `{"onHealthFailure":"halt","sustainedFailureSeconds":120,"activationTimeoutSeconds":600,"healthGate":{},"later":1}`},
		"what to do on failure":                {"policy": `{"onHealthFailure":"rollback-and-halt","sustainedFailureSeconds":120,"activationTimeoutSeconds":600,"healthGate":{}}`},
	} {
		if hash(over) == want {
			t.Errorf("another %s has the same hash", name)
		}
	}
}

func TestATrustFileIsReadAndWritten(t *testing.T) {
	pub, _ := signer(t, 1)
	text := `{"schemaVersion":1,"ciReleaseKey":{"current":{"algorithm":"ed25519","public":"` + pub.Public + `"},
		"previous":{"algorithm":"sphincs","public":"whatever"},"rejectBefore":"2026-01-01T01:00:00+01:00"},"cacheKeys":["cache:abc"],
		"orgRootKey":{"current":{"algorithm":"ed25519","public":"` + pub.Public + `"}},"later":{}}`
	f, err := trust.ParseFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if *f.CIRelease.Current != *pub || f.CIRelease.Previous.Algorithm != "sphincs" || f.OrgRoot.Current == nil ||
		!f.CIRelease.RejectBefore.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || len(f.CacheKeys) != 1 {
		t.Errorf("%+v", f)
	}
	data, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := trust.ParseFile(data)
	if err != nil || again.Fingerprint() != f.Fingerprint() || !again.CIRelease.RejectBefore.Equal(f.CIRelease.RejectBefore) {
		t.Errorf("%s: %v", data, err)
	}
	for name, bad := range map[string]string{
		"no JSON": "{", "no version": `{"ciReleaseKey":{}}`, "no release key": `{"schemaVersion":1}`,
		"a short key":        `{"schemaVersion":1,"ciReleaseKey":{"current":{"algorithm":"ed25519","public":"AAAA"}}}`,
		"no base64":          `{"schemaVersion":1,"ciReleaseKey":{"current":{"algorithm":"ed25519","public":"*"}}}`,
		"not on the curve":   `{"schemaVersion":1,"ciReleaseKey":{"current":{"algorithm":"ecdsa-p256","public":"` + base64.StdEncoding.EncodeToString(make([]byte, 64)) + `"}}}`,
		"no algorithm":       `{"schemaVersion":1,"ciReleaseKey":{"current":{"public":"AAAA"}}}`,
		"a time of no place": `{"schemaVersion":1,"ciReleaseKey":{"rejectBefore":"2026-01-01T00:00:00"}}`,
	} {
		if _, err := trust.ParseFile([]byte(bad)); !errors.Is(err, trust.ErrParse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust.ParseFile([]byte(`{"schemaVersion":2,"ciReleaseKey":{}}`)); !errors.Is(err, trust.ErrSchemaVersion) {
		t.Error(err)
	}
}

func TestTheFingerprintIsThatOfTheKeys(t *testing.T) {
	one, _ := signer(t, 1)
	two, _ := signer(t, 2)
	f := believing(one, two)
	before := f.Fingerprint()
	f.CIRelease.RejectBefore = now
	f.CacheKeys = []string{"x"}
	if f.Fingerprint() != before || believing(two, one).Fingerprint() != before {
		t.Error("the fingerprint changed with something else than the keys")
	}
	if believing(one).Fingerprint() == before || believing().Fingerprint() == believing(one).Fingerprint() {
		t.Error("other keys have the same fingerprint")
	}
}

func FuzzParseFile(f *testing.F) {
	pub, _ := signer(f, 1)
	f.Add([]byte(`{"schemaVersion":1,"ciReleaseKey":{"current":{"algorithm":"ed25519","public":"` + pub.Public + `"}}}`))
	f.Add([]byte(`{"schemaVersion":1,"ciReleaseKey":{"previous":{"algorithm":"x","public":""},"rejectBefore":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := trust.ParseFile(data)
		if err != nil {
			if !errors.Is(err, trust.ErrParse) && !errors.Is(err, trust.ErrSchemaVersion) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		out, err := file.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := trust.ParseFile(out)
		if err != nil || again.Fingerprint() != file.Fingerprint() {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
