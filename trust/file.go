package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"nixfleet/strictjson"
)

// The algorithms this program verifies. The algorithm belongs to the key, never to what is signed.
const (
	Ed25519   = "ed25519"
	ECDSAP256 = "ecdsa-p256"
)

// Bounds of a trust file, which is written by hand.
const (
	maxTrustFile = 64 << 10
	maxKeyText   = 4096 // room for the public key of an algorithm to come
	maxCacheKeys = 64
)

// Key is a public key with its algorithm, both as the trust file has them.
type Key struct {
	Algorithm string
	Public    string // base64: 32 bytes for ed25519, X||Y for ecdsa-p256
}

// Slot holds the keys that may sign one kind of thing. A key that is not there is nil.
type Slot struct {
	Current      *Key
	Previous     *Key      // still trusted while a new current key is being introduced
	RejectBefore time.Time // signatures older than this are refused; zero: none are
}

// File is a trust.json: whom this machine believes. docs/design/05-trust.md.
type File struct {
	CIRelease Slot     // signs fleets, manifests, tickets and revocations
	CacheKeys []string // of the binary caches, for the nixos backend
	OrgRoot   Slot     // signs enrolment tokens
}

// LoadFile reads a trust file; see [ParseFile].
func LoadFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTrustFile+1))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("trust: %s: %w", path, err)
	}
	file, err := ParseFile(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// ParseFile reads a trust.json of at most 64 KiB. A key of an unknown algorithm is kept and skipped when verifying; a
// key of a known one that is no such key is refused. Errors are of class [ErrParse] or [ErrSchemaVersion].
func ParseFile(data []byte) (*File, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: maxTrustFile, Depth: strictjson.DefaultLimits.Depth})
	if err != nil {
		return nil, fmt.Errorf("%w: trust file: %w", ErrParse, err)
	}
	o := v.Object()
	version := o.Uint64("schemaVersion")
	if o.Err() == nil && version != schemaVersion {
		return nil, fmt.Errorf("%w: trust file: %d, want %d", ErrSchemaVersion, version, schemaVersion)
	}
	f := &File{CIRelease: parseSlot(o.Object("ciReleaseKey")), CacheKeys: o.OptStrings("cacheKeys")}
	if len(f.CacheKeys) > maxCacheKeys {
		o.Fail("cacheKeys", "%d keys, at most %d allowed", len(f.CacheKeys), maxCacheKeys)
	}
	if root := o.OptObject("orgRootKey"); root != nil {
		f.OrgRoot = parseSlot(root)
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("%w: trust file: %w", ErrParse, err)
	}
	return f, nil
}

func parseSlot(o *strictjson.Object) Slot {
	return Slot{Current: parseKey(o, "current"), Previous: parseKey(o, "previous"), RejectBefore: o.OptTime("rejectBefore")}
}

func parseKey(o *strictjson.Object, name string) *Key {
	k := o.OptObject(name)
	if k == nil {
		return nil
	}
	key := &Key{Algorithm: k.String("algorithm"), Public: k.String("public")}
	if len(key.Algorithm) > maxKeyText || len(key.Public) > maxKeyText {
		k.Fail("public", "more than %d bytes", maxKeyText)
	}
	if k.Err() == nil {
		if _, err := key.verifier(); err != nil {
			k.Fail("public", "%v", err)
		}
	}
	return key
}

// Encode returns the file as JSON that [ParseFile] reads back.
func (f *File) Encode() ([]byte, error) {
	type keyJSON struct {
		Algorithm string `json:"algorithm"`
		Public    string `json:"public"`
	}
	type slotJSON struct {
		Current      *keyJSON `json:"current,omitempty"`
		Previous     *keyJSON `json:"previous,omitempty"`
		RejectBefore string   `json:"rejectBefore,omitempty"`
	}
	slot := func(s Slot) *slotJSON {
		out := &slotJSON{Current: (*keyJSON)(s.Current), Previous: (*keyJSON)(s.Previous)}
		if !s.RejectBefore.IsZero() {
			out.RejectBefore = s.RejectBefore.UTC().Format(time.RFC3339Nano)
		}
		return out
	}
	out := struct {
		SchemaVersion int       `json:"schemaVersion"`
		CIReleaseKey  *slotJSON `json:"ciReleaseKey"`
		CacheKeys     []string  `json:"cacheKeys"`
		OrgRootKey    *slotJSON `json:"orgRootKey,omitempty"`
	}{SchemaVersion: schemaVersion, CIReleaseKey: slot(f.CIRelease), CacheKeys: f.CacheKeys}
	if out.CacheKeys == nil {
		out.CacheKeys = []string{}
	}
	if f.OrgRoot != (Slot{}) {
		out.OrgRootKey = slot(f.OrgRoot)
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return append(data, '\n'), nil
}

// Fingerprint names the set of release keys: it changes when they change and with nothing else. The downgrade floor of
// an agent is kept with it, and a floor with another fingerprint counts no more.
func (f *File) Fingerprint() string {
	var keys []string
	for _, k := range f.CIRelease.keys() {
		keys = append(keys, k.Algorithm+" "+k.Public)
	}
	slices.Sort(keys)
	h := sha256.New()
	for _, k := range keys {
		fmt.Fprintf(h, "%d %s\n", len(k), k)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// keys returns the keys there are, in the order in which they are tried.
func (s Slot) keys() []*Key {
	var keys []*Key
	for _, k := range []*Key{s.Current, s.Previous} {
		if k != nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// verifier checks one signature over a message.
type verifier func(message, sig []byte) bool

// verifier returns how to verify with this key, nil if its algorithm is unknown.
func (k *Key) verifier() (verifier, error) {
	switch k.Algorithm {
	case Ed25519:
		pub, err := k.decode(ed25519.PublicKeySize)
		if err != nil {
			return nil, err
		}
		return func(message, sig []byte) bool {
			return len(sig) == ed25519.SignatureSize && ed25519.Verify(pub, message, sig)
		}, nil
	case ECDSAP256:
		xy, err := k.decode(2 * p256Size)
		if err != nil {
			return nil, err
		}
		const uncompressed = 4
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{uncompressed}, xy...))
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrKey, k.Algorithm, err)
		}
		return func(message, sig []byte) bool { return verifyP256(pub, message, sig) }, nil
	}
	return nil, nil
}

func (k *Key) decode(size int) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(k.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, k.Algorithm, err)
	}
	if len(raw) != size {
		return nil, fmt.Errorf("%w: %s: %d bytes, want %d", ErrKey, k.Algorithm, len(raw), size)
	}
	return raw, nil
}
