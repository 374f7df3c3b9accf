package trust_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"nixfleet/trust"
)

// Facts about RFC 8785, by section.
func TestTheCanonicalFormIsThatOfRFC8785(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"white space goes (3.2.1)":            {" { \"a\" :\n[ 1 , 2 ]\t} ", `{"a":[1,2]}`},
		"literals stay (3.2.2.1)":             {`[null,true,false]`, `[null,true,false]`},
		"short escapes (3.2.2.2)":             {`"\u0008\u0009\u000a\u000c\u000d\u0022\u005c"`, `"\b\t\n\f\r\"\\"`},
		"other controls (3.2.2.2)":            {`"\u0000\u000F\u001f\u007f"`, "\"\\u0000\\u000f\\u001f\u007f\""},
		"a slash is not escaped":              {`"\/<>&"`, `"/<>&"`},
		"characters stand as they are":        {`"\u20ac\ud83d\ude00"`, "\"\u20ac\U0001f600\""},
		"no normalisation (3.1)":              {`"A\u030a"`, "\"A\u030a\""},
		"keys by UTF-16 units (3.2.3)":        {`{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3,"1":4,"\r":5,"\u0080":6,"\u00f6":7}`, "{\"\\r\":5,\"1\":4,\"\u0080\":6,\"\u00f6\":7,\"\u20ac\":3,\"\U0001f600\":2,\"\ufb33\":1}"},
		"a shorter key first":                 {`{"aa":1,"a":2,"":3}`, `{"":3,"a":2,"aa":1}`},
		"arrays keep their order":             {`[3,1,2]`, `[3,1,2]`},
		"nested objects are sorted":           {`{"b":{"d":1,"c":2},"a":[{"z":1,"y":2}]}`, `{"a":[{"y":2,"z":1}],"b":{"c":2,"d":1}}`},
		"fields nobody knows stay":            {`{"x-unknown":{"deep":[1e2]},"a":1}`, `{"a":1,"x-unknown":{"deep":[100]}}`},
		"escaped and plain keys are the same": {`{"\u0061":1,"b":2}`, `{"a":1,"b":2}`},
	} {
		got, err := trust.Canonical([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s gave %q, %v, want %q", name, c.in, got, err, c.want)
		}
	}
}

// Numbers are written as ECMAScript writes them: these are doubles by their bits, with their text (appendix B).
func TestNumbersAreWrittenAsECMAScriptDoes(t *testing.T) {
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0",
		0x8000000000000000: "0",
		0x0000000000000001: "5e-324",
		0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308",
		0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992",
		0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22",
		0x44b52d02c7e14af6: "1e+23",
		0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000",
		0x444b1ae4d6e2ef4f: "999999999999999900000",
		0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7",
		0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333",
		0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		in := strconv.FormatFloat(math.Float64frombits(bits), 'e', 17, 64)
		got, err := trust.Canonical([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%016x: %s gave %s, %v, want %s", bits, in, got, err, want)
		}
	}
	for in, want := range map[string]string{"1.0": "1", "1e0": "1", "-0": "0", "-0.0": "0", "1E3": "1000", "0.10": "0.1", "100e-2": "1"} {
		if got, err := trust.Canonical([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s gave %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestWhatHasNoCanonicalFormIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "two values": "1 2", "a duplicate key": `{"a":1,"a":2}`, "a duplicate key by escape": `{"a":1,"\u0061":2}`,
		"a deep duplicate": `[{"a":{"b":1,"b":1}}]`, "a lone surrogate": `"\ud800"`, "a surrogate pair the wrong way": `"\ude00\ud83d"`,
		"bad UTF-8": "\"\xff\"", "a number no double holds": "1e999", "NaN": "NaN", "a byte order mark": "\ufeff{}",
		"a leading zero": "01", "depth": strings.Repeat("[", 40) + strings.Repeat("]", 40),
	} {
		if out, err := trust.Canonical([]byte(in)); !errors.Is(err, trust.ErrParse) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

func TestAnIntegerBeyondTwoToThe53CannotBeSigned(t *testing.T) {
	for in, safe := range map[string]bool{
		`{"seq":9007199254740992}`: true, `{"seq":-9007199254740992}`: true, `{"seq":9007199254740993}`: false,
		`[18446744073709551615]`: false, `[99999999999999999999999]`: false, `-9007199254740993`: false,
		`"9007199254740993"`: true, `{"9007199254740993":"\"9007199254740993"}`: true, `"\\",9007199254740993`: false,
		`[1e30,0.30000000000000004,12345678901234567890.5]`: true, `[1,2,9007199254740993]`: false, ``: true,
	} {
		err := trust.SafeIntegers([]byte(in))
		if safe != (err == nil) || !safe && !errors.Is(err, trust.ErrUnsafeInteger) {
			t.Errorf("%s: %v", in, err)
		}
	}
	_, key := signer(t, 1)
	if _, err := trust.SignDocument(key, []byte(`{"a":9007199254740993}`)); !errors.Is(err, trust.ErrUnsafeInteger) {
		// Its canonical form is 9007199254740992, which is safe: the check must come first.
		t.Errorf("a document: %v", err)
	}
	if _, err := trust.SignHost(key, []byte(`{"event":{"seq":9007199254740993}}`)); !errors.Is(err, trust.ErrUnsafeInteger) {
		t.Errorf("a message: %v", err)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"b":1,"a":[1e21,1e-7,-0]}`, `"\ud83d\ude00"`, `{"\u20ac":1,"\r":2}`, `[9007199254740993]`, `{"a":1,"a":2}`, `1e999`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := trust.Canonical(data)
		if err != nil {
			if !errors.Is(err, trust.ErrParse) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		twice, err := trust.Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q then %q, %v", once, twice, err)
		}
		var before, after any
		if err := json.Unmarshal(data, &before); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		if err := json.Unmarshal(once, &after); err != nil {
			t.Fatal(err)
		}
		one, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		two, err := json.Marshal(after)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) && !bytes.Contains(data, []byte("-0")) {
			t.Fatalf("the value changed: %s, %s", one, two)
		}
	})
}
