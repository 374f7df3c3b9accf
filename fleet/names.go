package fleet

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The classes of refused names.
var (
	ErrClosure  = errors.New("fleet: bad closure name")
	ErrHostname = errors.New("fleet: bad hostname")
	ErrPubkey   = errors.New("fleet: bad host public key")
)

// MaxClosure is the longest closure name in bytes: a file name has at most 255, less room for a suffix beside it.
const MaxClosure = 244

// MaxHostname is the longest host name in bytes, that of DNS.
const MaxHostname = 253

// ValidateClosure refuses, with class [ErrClosure], what cannot be the store basename of a closure on any backend:
// anything but 1 to 244 of letters, digits and "+._?=-", beginning with a letter or digit. A backend may be tighter.
func ValidateClosure(name string) error {
	if name == "" || len(name) > MaxClosure {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrClosure, len(name), MaxClosure)
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && (i == 0 || !strings.ContainsRune("+._?=-", rune(c))) {
			return fmt.Errorf("%w: %q has %q at byte %d, want letters, digits and +._?=-, a letter or digit first", ErrClosure, name, c, i)
		}
	}
	return nil
}

// ValidateHostname refuses, with class [ErrHostname], what cannot be the CN of a host's certificate: anything but 1 to
// 253 of letters, digits, "-", "_" and ".", beginning and ending with a letter or digit, without "..".
func ValidateHostname(name string) error {
	if name == "" || len(name) > MaxHostname {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrHostname, len(name), MaxHostname)
	}
	for i := range len(name) {
		c, edge := name[i], i == 0 || i == len(name)-1
		if !alphanumeric(c) && (edge || !strings.ContainsRune("-_.", rune(c))) {
			return fmt.Errorf("%w: %q has %q at byte %d, want letters, digits and -_., a letter or digit at both ends", ErrHostname, name, c, i)
		}
	}
	if strings.Contains(name, "..") {
		return fmt.Errorf("%w: %q contains \"..\"", ErrHostname, name)
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// PubkeySize is the length of a raw Ed25519 public key in bytes.
const PubkeySize = 32

const pubkeyType = "ssh-ed25519"

// ParsePubkey reads the line of an OpenSSH Ed25519 public key, "ssh-ed25519 AAAA... comment", as a host has it in
// /etc/ssh/ssh_host_ed25519_key.pub, and returns the 32 raw bytes. Errors are of class [ErrPubkey].
func ParsePubkey(line string) ([]byte, error) {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != pubkeyType {
		return nil, fmt.Errorf("%w: want %q and the key in base64", ErrPubkey, pubkeyType)
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPubkey, err)
	}
	// Two strings, each with its length in front: the type once more, then the key. RFC 8709.
	name, rest, ok := sshString(blob)
	if !ok || string(name) != pubkeyType {
		return nil, fmt.Errorf("%w: the key does not say %s inside", ErrPubkey, pubkeyType)
	}
	key, rest, ok := sshString(rest)
	if !ok || len(key) != PubkeySize || len(rest) != 0 {
		return nil, fmt.Errorf("%w: not a key of %d bytes", ErrPubkey, PubkeySize)
	}
	return key, nil
}

func sshString(b []byte) (s, rest []byte, ok bool) {
	const header = 4
	if len(b) < header {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if b = b[header:]; uint64(len(b)) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
