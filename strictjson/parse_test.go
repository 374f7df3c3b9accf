package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"nixfleet/strictjson"
)

// good are documents that are accepted; encoding/json must read the same in them.
var good = []string{
	`null`, `true`, `false`, `0`, `-0`, `-12.5e+3`, `18446744073709551616`, `""`, `"a"`, `[]`, `{}`, ` [ 1 , "x" , null ] `,
	"\t\r\n {\"a\" : [ { \"b\" : { } } ] , \"\" : 1 , \"A\" : 2 } \n", `"\"\\\/\b\f\n\r\t\u0000\u00e9\uD83D\uDE00"`, `{"\u0061":1}`,
	`"é😀` + "\u2028" + `"`, `{"a":{"a":{"a":1}}}`, `[[],[[]],{}]`,
}

// bad are documents that are refused.
var bad = map[string]string{
	"nothing":                              ``,
	"white space only":                     ` `,
	"two values":                           `1 2`,
	"a trailing comma":                     `[1,]`,
	"a comment":                            `{} // x`,
	"a leading zero":                       `01`,
	"a plus sign":                          `+1`,
	"a bare point":                         `.5`,
	"not a number":                         `NaN`,
	"single quotes":                        `'a'`,
	"an unquoted key":                      `{a:1}`,
	"a control character":                  "\"\x01\"",
	"an unknown escape":                    `"\x"`,
	"a cut escape":                         `"\u12"`,
	"an open string":                       `"abc`,
	"an open object":                       `{"a":1`,
	"a byte order mark":                    "\ufeff{}",
	"invalid UTF-8":                        "\"\xff\"",
	"an encoded surrogate":                 "\"\xed\xa0\x80\"",
	"an overlong encoding":                 "\"\xc0\x80\"",
	"a high surrogate alone":               `"\ud800"`,
	"a low surrogate alone":                `"\udc00"`,
	"a high surrogate before a letter":     `"\ud800x"`,
	"a high surrogate before an escape":    `"\ud800\n"`,
	"a high surrogate before an ordinary":  `"\ud800\u0041"`,
	"two high surrogates":                  `"\ud800\ud800"`,
	"surrogates in the wrong order":        `"\udc00\ud800"`,
	"a lone surrogate in a key":            `{"\ud800":1}`,
	"a duplicate key":                      `{"a":1,"a":1}`,
	"a duplicate key, spelled differently": `{"a":1,"\u0061":2}`,
	"a duplicate key deep inside":          `[{"x":[{"a":1,"b":2,"a":3}]}]`,
	"a duplicate key among many":           `{` + manyKeys(40) + `,"k3":1}`,
	"a duplicate key beyond the first few": `{` + manyKeys(40) + `,"k39":1}`,
	"nesting beyond the bound":             strings.Repeat("[", 33) + strings.Repeat("]", 33),
	"nesting far beyond it":                strings.Repeat(`{"a":`, 100000),
	"more bytes than the bound":            `"` + strings.Repeat("x", 1<<20) + `"`,
}

func manyKeys(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	return strings.Join(parts, ",")
}

func TestWhatIsRightIsReadAsEncodingJSONReadsIt(t *testing.T) {
	for _, doc := range append(good, `{`+manyKeys(100)+`}`, strings.Repeat("[", 32)+strings.Repeat("]", 32)) {
		v, err := strictjson.Parse([]byte(doc), strictjson.DefaultLimits)
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		sameAsEncodingJSON(t, []byte(doc), v)
	}
}

func TestWhatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	for what, doc := range bad {
		_, err := strictjson.Parse([]byte(doc), strictjson.DefaultLimits)
		var e *strictjson.Error
		if !errors.Is(err, strictjson.ErrMalformed) || !errors.As(err, &e) {
			t.Errorf("%s: %v", what, err)
		} else if len(e.Error()) > 500 {
			t.Errorf("%s: an error of %d bytes", what, len(e.Error()))
		}
	}
}

func TestErrorsNameThePath(t *testing.T) {
	for doc, want := range map[string]string{
		`{"a":{"b":[0,{"c":1,"c":2}]}}`: "a.b[1].c",
		`[[["\ud800"]]]`:                "[0][0][0]",
		`{"a":[{"\udc00":1}]}`:          "a[0]",
		`{"a":1,"a":1}`:                 "a",
	} {
		_, err := strictjson.Parse([]byte(doc), strictjson.DefaultLimits)
		var e *strictjson.Error
		if !errors.As(err, &e) || e.Path != want {
			t.Errorf("%s: %v, want the path %s", doc, err, want)
		}
	}
}

// sameAsEncodingJSON compares a tree with what encoding/json makes of the same bytes.
func sameAsEncodingJSON(t *testing.T, doc []byte, v strictjson.Value) {
	t.Helper()
	if !bytes.Equal(bytes.TrimSpace(doc), v.Raw) && v.Kind != strictjson.Null {
		if want := bytes.Trim(doc, " \t\r\n"); !bytes.Equal(want, v.Raw) {
			t.Fatalf("raw is %q, want %q", v.Raw, want)
		}
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatalf("%q was accepted, encoding/json refuses it: %v", doc, err)
	}
	compare(t, v, want)
}

func compare(t *testing.T, v strictjson.Value, want any) {
	t.Helper()
	ok := true
	switch w := want.(type) {
	case nil:
		ok = v.Kind == strictjson.Null
	case bool:
		ok = v.Kind == strictjson.Bool && string(v.Raw) == fmt.Sprint(w)
	case json.Number:
		ok = v.Kind == strictjson.Number && string(v.Raw) == w.String()
	case string:
		ok = v.Kind == strictjson.String && v.Text() == w && utf8.ValidString(w)
	case []any:
		if ok = v.Kind == strictjson.Array && len(v.Elems()) == len(w) && v.Len() == len(w); ok {
			for i, e := range v.Elems() {
				compare(t, e, w[i])
			}
		}
	case map[string]any:
		if ok = v.Kind == strictjson.Map && len(v.Keys()) == len(w) && v.Len() == len(w); ok {
			for name, member := range v.Members() {
				got, found := v.Get(name)
				if !found || !bytes.Equal(got.Raw, member.Raw) {
					t.Fatalf("Get and Members disagree about %q", name)
				}
				compare(t, member, w[name])
			}
		}
	}
	if !ok {
		t.Fatalf("%s %q, encoding/json reads %#v", v.Kind, v.Raw, want)
	}
}

// FuzzParse: whatever is accepted, encoding/json accepts with the same values; whatever it accepts and we do not has one
// of the faults this package is for.
func FuzzParse(f *testing.F) {
	for _, doc := range good {
		f.Add([]byte(doc))
	}
	for _, doc := range bad {
		if len(doc) < 1000 {
			f.Add([]byte(doc))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := strictjson.Parse(doc, strictjson.DefaultLimits)
		if err == nil {
			sameAsEncodingJSON(t, doc, v)
			return
		}
		if !errors.Is(err, strictjson.ErrMalformed) {
			t.Fatalf("an error of no class: %v", err)
		}
		if json.Valid(doc) && utf8.Valid(doc) && !faulty(doc) {
			t.Fatalf("%q is refused for no reason: %v", doc, err)
		}
	})
}

// faulty says whether valid JSON has a duplicate key, may have a lone surrogate, or is nested deeply.
func faulty(doc []byte) bool {
	if bytes.Contains(bytes.ToLower(doc), []byte(`\ud`)) {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	type level struct {
		keys  map[string]bool // nil in an array
		isKey bool
	}
	var stack []level
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if n := len(stack); n > 0 && stack[n-1].keys != nil {
			if key, ok := token.(string); ok && stack[n-1].isKey {
				if stack[n-1].keys[key] {
					return true
				}
				stack[n-1].keys[key], stack[n-1].isKey = true, false
				continue
			}
			stack[n-1].isKey = true
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}, isKey: true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		if len(stack) > strictjson.DefaultLimits.Depth {
			return true
		}
	}
}

func TestTimesAreReadInUTC(t *testing.T) {
	for s, want := range map[string]time.Time{
		"2026-03-01T12:00:00Z":                time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		"2026-03-01T14:00:00+02:00":           time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		"2026-03-01T00:00:00.5-23:59":         time.Date(2026, 3, 1, 23, 59, 0, 500000000, time.UTC),
		"2026-03-01T12:00:00.1234567899Z":     time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		"2024-02-29T23:59:59-00:00":           time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
		"0001-01-01T00:00:00.000000001Z":      time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		"9999-12-31T23:59:59.999999999+00:00": time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
	} {
		if got, err := strictjson.ParseTime(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "Z", "2026-03-01T12:00:00", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00,5Z", "2026-03-01T1:00:00Z", "2026-3-01T12:00:00Z",
		"2026-03-01t12:00:00Z", "2026-03-01T12:00:00z", "2026-03-01T12:00:00+24:00", "2026-03-01T12:00:00+00:60", "2026-03-01T12:00:00+0000",
		"2026-03-01T12:00:00 Z", "2026-02-29T12:00:00Z", "2026-03-01T12:00:60Z", "2026-13-01T12:00:00Z", "0001-01-01T00:00:00Z",
		"0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-00:01", "12026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Zx", "２026-03-01T12:00:00Z",
	} {
		if got, err := strictjson.ParseTime(s); err == nil {
			t.Errorf("%q was read as %s", s, got)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	small := []byte(`{"hostname":"web-01","rolloutId":"stable@abc","event":{"kind":"ProbeResult","probeName":"http","mode":"enforce","status":"pass","observedAt":"2026-03-01T12:00:14.25Z","seq":8},"epoch":"00112233445566778899aabbccddeeff"}`)
	large := []byte(`[` + strings.Repeat(string(small)+",", 4000) + `null]`)
	for name, doc := range map[string][]byte{"envelope": small, "fourThousand": large} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := strictjson.Parse(doc, strictjson.DocumentLimits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
