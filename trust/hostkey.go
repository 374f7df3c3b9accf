package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/ssh"

	"nixfleet/fleet"
	"nixfleet/strictjson"
)

// signatureMember is the member of a message that holds its signature and is therefore not part of what is signed.
const signatureMember = "signature"

// SignHost signs a message of a host, an event's envelope or a record, with the host's key: hex Ed25519 over the
// canonical form of the message without its member "signature". A message is at most 1 MiB; an integer beyond 2^53 in
// it is refused ([ErrUnsafeInteger]). docs/design/03-wire-protocol.md.
func SignHost(key ed25519.PrivateKey, message []byte) (string, error) {
	if len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("%w: no private key of %d bytes", ErrKey, ed25519.PrivateKeySize)
	}
	canonical, err := signedPart(message)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(ed25519.Sign(key, canonical)), nil
}

// VerifyHost checks what [SignHost] made. It refuses with [ErrParse], [ErrUnsafeInteger] or [ErrBadSignature].
func VerifyHost(pub ed25519.PublicKey, message []byte, hexSig string) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: no public key of %d bytes", ErrKey, ed25519.PublicKeySize)
	}
	canonical, err := signedPart(message)
	if err != nil {
		return err
	}
	sig, err := hex.DecodeString(hexSig)
	if err != nil || len(sig) != ed25519.SignatureSize || !ed25519.Verify(pub, canonical, sig) {
		return ErrBadSignature
	}
	return nil
}

func signedPart(message []byte) ([]byte, error) {
	body, err := without(message, signatureMember, strictjson.DefaultLimits)
	if err != nil {
		return nil, err
	}
	if err := SafeIntegers(body); err != nil {
		return nil, err
	}
	return transform(body)
}

// ParseHostKey reads an OpenSSH private key, as a host has it in /etc/ssh/ssh_host_ed25519_key. Only Ed25519 without a
// passphrase will do; anything else is of class [ErrKey].
func ParseHostKey(openssh []byte) (ed25519.PrivateKey, error) {
	key, err := ssh.ParseRawPrivateKey(openssh)
	if err != nil {
		return nil, fmt.Errorf("%w: host key: %w", ErrKey, err)
	}
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		return *k, nil
	case ed25519.PrivateKey: // in PKCS#8
		return k, nil
	default:
		return nil, fmt.Errorf("%w: host key: a key of type %T, want Ed25519", ErrKey, key)
	}
}

// MarshalHostKey writes what [ParseHostKey] reads.
func MarshalHostKey(key ed25519.PrivateKey, comment string) ([]byte, error) {
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, fmt.Errorf("%w: host key: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(block), nil
}

// GenerateHostKey makes a new host key.
func GenerateHostKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return key, nil
}

// ParseHostPubkey reads the line of a host's public key, "ssh-ed25519 AAAA... comment", as the fleet lists it.
func ParseHostPubkey(line string) (ed25519.PublicKey, error) {
	raw, err := fleet.ParsePubkey(line)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return raw, nil
}

// MarshalHostPubkey writes what [ParseHostPubkey] reads, without a comment.
func MarshalHostPubkey(pub ed25519.PublicKey) (string, error) {
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	line := ssh.MarshalAuthorizedKey(key)
	return string(line[:len(line)-1]), nil // without the line feed
}
