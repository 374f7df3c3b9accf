package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"

	"github.com/gowebpki/jcs"

	"nixfleet/strictjson"
)

// AppendCanonical appends the RFC 8785 form of v, with one addition: an integer too large for that form keeps its
// digits, because a seq is an unsigned 64-bit number and two different ones must never look alike.
func AppendCanonical(dst []byte, v strictjson.Value) ([]byte, error) {
	switch v.Kind {
	case strictjson.Null, strictjson.Bool:
		return append(dst, v.Raw...), nil
	case strictjson.Number:
		return appendNumber(dst, string(v.Raw))
	case strictjson.String:
		return AppendString(dst, v.Text()), nil
	case strictjson.Array:
		return appendArray(dst, v)
	case strictjson.Map:
		return appendMap(dst, v)
	}
	return dst, fmt.Errorf("ledger: no canonical form for %s", v.Kind)
}

// Canonical is [AppendCanonical] of the one JSON value in data.
func Canonical(data []byte) ([]byte, error) {
	v, err := strictjson.Parse(data, strictjson.DefaultLimits)
	if err != nil {
		return nil, err
	}
	return AppendCanonical(make([]byte, 0, len(data)), v)
}

func appendArray(dst []byte, v strictjson.Value) ([]byte, error) {
	dst = append(dst, '[')
	for i, e := range v.Elems() {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = AppendCanonical(dst, e); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, v strictjson.Value) ([]byte, error) {
	keys := v.Keys()
	slices.SortFunc(keys, compareKeys)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, key), ':')
		child, _ := v.Get(key)
		var err error
		if dst, err = AppendCanonical(dst, child); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// compareKeys orders by UTF-16 code units, as RFC 8785 wants; for ASCII that is the order of bytes.
func compareKeys(a, b string) int {
	if ascii(a) && ascii(b) {
		return cmp.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// maxExact is 2^53, up to which every integer is a float64.
const maxExact = 1 << 53

func appendNumber(dst []byte, text string) ([]byte, error) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return strconv.AppendUint(dst, n, 10), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n != 0 && n >= -maxExact {
		return strconv.AppendInt(dst, n, 10), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return dst, fmt.Errorf("ledger: %s is beyond every number of RFC 8785", text)
	}
	out, err := jcs.NumberToJSON(f)
	if err != nil {
		return dst, fmt.Errorf("ledger: number %s: %w", text, err)
	}
	return append(dst, out...), nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as an RFC 8785 string: only what must be escaped is. s is valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}
