package trust

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"nixfleet/fleet"
	"nixfleet/strictjson"
)

// Bounds of an enrolment token.
const (
	tokenVersion  = 1
	maxToken      = 8 << 10              // ten times what one takes
	maxNonce      = 128                  // bytes; ours has 24
	nonceBytes    = 16                   // random: two tokens never share one
	MaxTokenValid = 366 * 24 * time.Hour // a token that is forgotten must die some day
)

// Claims is what an enrolment token says. docs/design/05-trust.md.
type Claims struct {
	Hostname                  string
	ExpectedPubkeyFingerprint string // see PubkeyFingerprint
	IssuedAt, ExpiresAt       time.Time
	Nonce                     string // works once; the control plane remembers it durably
}

type claimsJSON struct {
	Hostname                  string `json:"hostname"`
	ExpectedPubkeyFingerprint string `json:"expectedPubkeyFingerprint"`
	IssuedAt                  string `json:"issuedAt"`
	ExpiresAt                 string `json:"expiresAt"`
	Nonce                     string `json:"nonce"`
}

// PubkeyFingerprint names a host's key in a token: base64 of the SHA-256 of its 32 raw bytes.
func PubkeyFingerprint(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// MintToken makes a token that lets the host with this key in until issuedAt + valid, at most a year, signed by the
// organisation's root key. Times are kept to the second.
func MintToken(root crypto.Signer, hostname string, pub ed25519.PublicKey, issuedAt time.Time, valid time.Duration) ([]byte, error) {
	if err := fleet.ValidateHostname(hostname); err != nil {
		return nil, fmt.Errorf("trust: token: %w", err)
	}
	if len(pub) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: token: no public key of %d bytes", ErrKey, ed25519.PublicKeySize)
	}
	if valid < time.Second || valid > MaxTokenValid {
		return nil, fmt.Errorf("trust: token: valid for %s, want 1s to %s", valid, MaxTokenValid)
	}
	nonce := make([]byte, nonceBytes)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("trust: token: %w", err)
	}
	claims, err := json.Marshal(claimsJSON{
		Hostname:                  hostname,
		ExpectedPubkeyFingerprint: PubkeyFingerprint(pub),
		IssuedAt:                  stamp(issuedAt),
		ExpiresAt:                 stamp(issuedAt.Truncate(time.Second).Add(valid)),
		Nonce:                     base64.StdEncoding.EncodeToString(nonce),
	})
	if err != nil {
		return nil, fmt.Errorf("trust: token: %w", err)
	}
	sig, err := SignDocument(root, claims)
	if err != nil {
		return nil, err
	}
	token, err := json.Marshal(struct {
		Version   int             `json:"version"`
		Claims    json.RawMessage `json:"claims"`
		Signature string          `json:"signature"`
	}{tokenVersion, claims, base64.StdEncoding.EncodeToString(sig)})
	if err != nil {
		return nil, fmt.Errorf("trust: token: %w", err)
	}
	return token, nil
}

// VerifyToken checks a token of at most 8 KiB in the order of a document: form ([ErrParse]), signature by orgRootKey,
// version ([ErrSchemaVersion]), rejectBefore, expiry ([ErrTokenExpired], without slack) and issue ([ErrFutureDated],
// with [Slack]). That it is for this host, [Claims.Check] tells; that its nonce is new, only the store knows.
func VerifyToken(data []byte, f *File, now time.Time) (Claims, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: maxToken, Depth: strictjson.DefaultLimits.Depth})
	if err != nil {
		return Claims{}, fmt.Errorf("%w: token: %w", ErrParse, err)
	}
	o := v.Object()
	version, signature := o.Uint64("version"), o.String("signature")
	body := o.Object("claims")
	claims := parseClaims(body)
	if err := o.Err(); err != nil {
		return Claims{}, fmt.Errorf("%w: token: %w", ErrParse, err)
	}
	canonical, err := transform(body.Raw())
	if err != nil {
		return Claims{}, err
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: token: signature: %w", ErrParse, err)
	}
	if err := f.OrgRoot.verify(canonical, sig); err != nil {
		return Claims{}, err
	}
	if version != tokenVersion {
		return Claims{}, fmt.Errorf("%w: token: %d, want %d", ErrSchemaVersion, version, tokenVersion)
	}
	if err := claims.valid(f.OrgRoot.RejectBefore, now); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

func parseClaims(o *strictjson.Object) Claims {
	c := Claims{
		Hostname:                  o.String("hostname"),
		ExpectedPubkeyFingerprint: o.String("expectedPubkeyFingerprint"),
		IssuedAt:                  o.Time("issuedAt"),
		ExpiresAt:                 o.Time("expiresAt"),
		Nonce:                     o.String("nonce"),
	}
	if err := fleet.ValidateHostname(c.Hostname); err != nil {
		o.Fail("hostname", "%v", err)
	}
	if c.Nonce == "" || len(c.Nonce) > maxNonce {
		o.Fail("nonce", "%d bytes, want 1 to %d", len(c.Nonce), maxNonce)
	}
	return c
}

func (c Claims) valid(rejectBefore, now time.Time) error {
	switch {
	case c.IssuedAt.Before(rejectBefore):
		return fmt.Errorf("%w: token: at %s, accepted from %s", ErrRejectedBefore, stamp(c.IssuedAt), stamp(rejectBefore))
	case !now.Before(c.ExpiresAt):
		return fmt.Errorf("%w: at %s", ErrTokenExpired, stamp(c.ExpiresAt))
	case c.IssuedAt.Sub(now) > Slack:
		return fmt.Errorf("%w: token: at %s", ErrFutureDated, stamp(c.IssuedAt))
	}
	return nil
}

// Check refuses, with class [ErrTokenClaims], a certificate request whose CN or key is not that of the token.
func (c Claims) Check(hostname string, pub ed25519.PublicKey) error {
	if c.Hostname != hostname {
		return fmt.Errorf("%w: it is for host %q, the request is of %q", ErrTokenClaims, c.Hostname, hostname)
	}
	if c.ExpectedPubkeyFingerprint != PubkeyFingerprint(pub) {
		return fmt.Errorf("%w: it is for the key %s, the request has %s", ErrTokenClaims, c.ExpectedPubkeyFingerprint, PubkeyFingerprint(pub))
	}
	return nil
}
