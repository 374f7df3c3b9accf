package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gowebpki/jcs"

	"nixfleet/strictjson"
)

// Canonical returns the RFC 8785 form of one JSON document of at most 32 MiB, nested at most 32 deep. What
// strictjson refuses, duplicate keys and lone surrogates among it, is refused with class [ErrParse], and so is a
// number that no double holds. Integers beyond 2^53 are rounded, as RFC 8785 says; [SafeIntegers] tells.
func Canonical(data []byte) ([]byte, error) {
	if _, err := strictjson.Parse(data, strictjson.DocumentLimits); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParse, err)
	}
	return transform(data)
}

// transform is Canonical of what strictjson has accepted.
func transform(data []byte) ([]byte, error) {
	out, err := jcs.Transform(data)
	if err != nil {
		return nil, fmt.Errorf("%w: canonical form: %w", ErrParse, err)
	}
	return out, nil
}

// Hash returns the SHA-256 of bytes in lower-case hex, as every document names another.
func Hash(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

const maxSafeInteger = 1 << 53

// SafeIntegers refuses, with class [ErrUnsafeInteger], JSON that has an integer beyond 2^53: its canonical form is that
// of its neighbours too, so a signature over one would hold for the other. data must be valid JSON.
func SafeIntegers(data []byte) error {
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case c == '"':
			i = skipString(data, i)
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(data) && isNumberByte(data[end]) {
				end++
			}
			if err := safeInteger(string(data[i:end])); err != nil {
				return err
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// skipString returns where the string that begins at i has ended.
func skipString(data []byte, i int) int {
	for i++; i < len(data) && data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// safeInteger refuses integers too large. Fractions and exponents say themselves that they are approximate.
func safeInteger(number string) error {
	digits := number
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return nil
		}
	}
	if n, err := strconv.ParseUint(digits, 10, 64); err != nil || n > maxSafeInteger {
		const most = 40 // enough to recognise it
		return fmt.Errorf("%w: %s", ErrUnsafeInteger, number[:min(most, len(number))])
	}
	return nil
}

// without returns the object in data with one of its members left out.
func without(data []byte, key string, lim strictjson.Limits) ([]byte, error) {
	v, err := strictjson.Parse(data, lim)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParse, err)
	}
	if v.Kind != strictjson.Map {
		return nil, fmt.Errorf("%w: want an object, got %s", ErrParse, v.Kind)
	}
	out := append(make([]byte, 0, len(data)), '{')
	for name, member := range v.Members() {
		if name == key {
			continue
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrParse, err)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted...), ':'), member.Raw...)
	}
	return append(out, '}'), nil
}
