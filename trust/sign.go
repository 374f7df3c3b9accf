package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
)

// SignatureSize is the length of every raw signature in bytes: Ed25519's, and r||s of ECDSA P-256.
const SignatureSize = 64

const p256Size = 32 // bytes of one coordinate, and of r and s

// PublicKey returns the entry of a trust file that verifies what signer signs. Errors are of class [ErrKey] or
// [ErrUnsupportedAlgorithm].
func PublicKey(signer crypto.Signer) (Key, error) {
	switch pub := signer.Public().(type) {
	case ed25519.PublicKey:
		return Key{Algorithm: Ed25519, Public: base64.StdEncoding.EncodeToString(pub)}, nil
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("%w: ECDSA on %s, want P-256", ErrUnsupportedAlgorithm, pub.Curve.Params().Name)
		}
		point, err := pub.Bytes()
		if err != nil {
			return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
		return Key{Algorithm: ECDSAP256, Public: base64.StdEncoding.EncodeToString(point[1:])}, nil
	default:
		return Key{}, fmt.Errorf("%w: a key of type %T cannot sign, want Ed25519 or ECDSA P-256", ErrUnsupportedAlgorithm, pub)
	}
}

// SignDocument signs the canonical form of raw, which must be at most 32 MiB of JSON without an integer beyond 2^53
// ([ErrUnsafeInteger]), and returns the 64 raw bytes. signer is an Ed25519 or an ECDSA P-256 key; it may live in
// hardware.
func SignDocument(signer crypto.Signer, raw []byte) ([]byte, error) {
	canonical, err := CanonicalToSign(raw)
	if err != nil {
		return nil, err
	}
	return SignCanonical(signer, canonical)
}

// CanonicalToSign is [Canonical] of what is about to be signed: integers beyond 2^53 are refused ([ErrUnsafeInteger])
// before they are rounded to another one.
func CanonicalToSign(raw []byte) ([]byte, error) {
	canonical, err := Canonical(raw)
	if err != nil {
		return nil, err
	}
	if err := SafeIntegers(raw); err != nil {
		return nil, err
	}
	return canonical, nil
}

// SignCanonical is [SignDocument] of bytes that [CanonicalToSign] gave.
func SignCanonical(signer crypto.Signer, canonical []byte) ([]byte, error) {
	if err := SafeIntegers(canonical); err != nil {
		return nil, err
	}
	switch pub := signer.Public().(type) {
	case ed25519.PublicKey:
		sig, err := signer.Sign(rand.Reader, canonical, crypto.Hash(0))
		if err != nil {
			return nil, fmt.Errorf("trust: sign: %w", err)
		}
		return sig, nil
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() {
			return signP256(signer, canonical)
		}
	}
	return nil, fmt.Errorf("%w: a key of type %T cannot sign, want Ed25519 or ECDSA P-256", ErrUnsupportedAlgorithm, signer.Public())
}

func signP256(signer crypto.Signer, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	der, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("trust: sign: %w", err)
	}
	r, s, err := splitDER(der)
	if err != nil {
		return nil, err
	}
	sig := make([]byte, SignatureSize)
	r.FillBytes(sig[:p256Size])
	s.FillBytes(sig[p256Size:])
	return sig, nil
}

// verifyP256 checks r||s. A high s is accepted: the signature of a document names nothing, so that two exist for one
// document gives nobody anything.
func verifyP256(pub *ecdsa.PublicKey, message, sig []byte) bool {
	if len(sig) != SignatureSize {
		return false
	}
	sum := sha256.Sum256(message)
	der, err := joinDER(new(big.Int).SetBytes(sig[:p256Size]), new(big.Int).SetBytes(sig[p256Size:]))
	return err == nil && ecdsa.VerifyASN1(pub, sum[:], der)
}

// verify looks for a key of the slot that made sig over canonical.
func (s Slot) verify(canonical, sig []byte) error {
	keys := s.keys()
	if len(keys) == 0 {
		return ErrNoTrustRoots
	}
	usable := false
	for _, k := range keys {
		check, err := k.verifier()
		if err != nil || check == nil {
			continue // a key that is no key was refused by ParseFile; an unknown algorithm is somebody else's
		}
		usable = true
		if check(canonical, sig) {
			return nil
		}
	}
	if !usable {
		return fmt.Errorf("%w: %s", ErrUnsupportedAlgorithm, keys[0].Algorithm)
	}
	return ErrBadSignature
}
