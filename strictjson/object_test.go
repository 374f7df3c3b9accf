package strictjson_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"nixfleet/strictjson"
)

func objectOf(t *testing.T, doc string) *strictjson.Object {
	t.Helper()
	v, err := strictjson.Parse([]byte(doc), strictjson.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return v.Object()
}

func TestFieldsAreReadByTheirType(t *testing.T) {
	o := objectOf(t, `{"s":"x","b":true,"u":18446744073709551615,"w":4294967295,"i":-2147483648,"t":"2026-03-01T14:00:00+02:00",
		"e":"two","o":{"k":1},"l":[{"n":1},{"n":2}],"a":["x","y"],"null":null,"m":{"p":{"q":1}}}`)
	if o.String("s") != "x" || !o.Bool("b") || o.Uint64("u") != 1<<64-1 || o.Uint32("w") != 1<<32-1 || o.Int32("i") != -1<<31 {
		t.Error("a scalar was read wrong")
	}
	if !o.Time("t").Equal(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) || o.Enum("e", "one", "two") != "two" {
		t.Error("a time or an enum was read wrong")
	}
	if o.Object("o").Uint64("k") != 1 || o.Objects("l")[1].Uint64("n") != 2 || !slices.Equal(o.Strings("a"), []string{"x", "y"}) {
		t.Error("a nested value was read wrong")
	}
	if o.OptString("null") != "" || o.OptUint64("none") != 0 || o.OptUint32("none") != 0 || o.OptBool("null") || !o.OptTime("null").IsZero() ||
		o.OptEnum("none", "def", "x") != "def" || o.OptObject("null") != nil || o.OptObjects("none") != nil || o.OptStrings("null") != nil {
		t.Error("an absent or null optional is not its zero value")
	}
	if o.Has("null") || !o.Defined("null") || o.Has("none") || o.Defined("none") || !o.Has("s") {
		t.Error("Has or Defined is wrong")
	}
	if string(o.Value("o").Raw) != `{"k":1}` || string(o.Object("o").Raw()) != `{"k":1}` {
		t.Error("raw bytes are not those written")
	}
	o.Each("m", func(name string, p *strictjson.Object) {
		if name != "p" || p.Uint64("q") != 1 {
			t.Errorf("member %s", name)
		}
	})
	if err := o.Err(); err != nil {
		t.Error(err)
	}
}

func TestTheFirstErrorSticksAndNamesItsPath(t *testing.T) {
	for what, c := range map[string]struct {
		doc  string
		read func(*strictjson.Object)
		path string
	}{
		"missing":                {`{}`, func(o *strictjson.Object) { o.String("a") }, "a"},
		"null":                   {`{"a":null}`, func(o *strictjson.Object) { o.Uint64("a") }, "a"},
		"wrong case":             {`{"A":"x"}`, func(o *strictjson.Object) { o.String("a") }, "a"},
		"wrong type":             {`{"a":1}`, func(o *strictjson.Object) { o.OptString("a") }, "a"},
		"fraction":               {`{"a":1.0}`, func(o *strictjson.Object) { o.Uint64("a") }, "a"},
		"exponent":               {`{"a":1e0}`, func(o *strictjson.Object) { o.Int32("a") }, "a"},
		"too large":              {`{"a":4294967296}`, func(o *strictjson.Object) { o.Uint32("a") }, "a"},
		"negative":               {`{"a":-1}`, func(o *strictjson.Object) { o.Uint64("a") }, "a"},
		"below 32 bits":          {`{"a":-2147483649}`, func(o *strictjson.Object) { o.Int32("a") }, "a"},
		"a flag that is none":    {`{"a":"true"}`, func(o *strictjson.Object) { o.OptBool("a") }, "a"},
		"unknown name":           {`{"a":"x"}`, func(o *strictjson.Object) { o.Enum("a", "y") }, "a"},
		"bad time":               {`{"a":"now"}`, func(o *strictjson.Object) { o.OptTime("a") }, "a"},
		"deep":                   {`{"a":{"b":{}}}`, func(o *strictjson.Object) { o.Object("a").Object("b").String("c") }, "a.b.c"},
		"through what is absent": {`{}`, func(o *strictjson.Object) { o.Object("a").Object("b").String("c") }, "a"},
		"in a list":              {`{"a":[{"b":1},{}]}`, func(o *strictjson.Object) { o.Objects("a")[1].Uint64("b") }, "a[1].b"},
		"null in a list":         {`{"a":[{},null]}`, func(o *strictjson.Object) { o.Objects("a") }, "a[1]"},
		"null among strings":     {`{"a":["x",null]}`, func(o *strictjson.Object) { o.OptStrings("a") }, "a[1]"},
		"a member of a map":      {`{"a":{"x":{"y":"z"}}}`, func(o *strictjson.Object) { o.Each("a", func(_ string, m *strictjson.Object) { m.Uint64("y") }) }, "a.x.y"},
		"a member that is none":  {`{"a":{"x":1}}`, func(o *strictjson.Object) { o.Each("a", func(string, *strictjson.Object) { panic("called") }) }, "a.x"},
		"of the caller":          {`{"a":{}}`, func(o *strictjson.Object) { o.Object("a").Fail("b", "no") }, "a.b"},
		"of the caller, itself":  {`{"a":{}}`, func(o *strictjson.Object) { o.Object("a").Fail("", "no") }, "a"},
		"no value":               {`{"a":null}`, func(o *strictjson.Object) { o.Value("a") }, "a"},
	} {
		o := objectOf(t, c.doc)
		c.read(o)
		first := o.Err()
		var e *strictjson.Error
		if !errors.As(first, &e) || e.Path != c.path || !errors.Is(first, strictjson.ErrMalformed) {
			t.Errorf("%s: %v, want the path %s", what, first, c.path)
		}
		if o.String("other"); !errors.Is(o.Err(), first) {
			t.Errorf("%s: the first error did not stick", what)
		}
	}
}

func TestWhatIsNoObjectHasNoFields(t *testing.T) {
	for _, doc := range []string{`null`, `[]`, `"a"`, `1`} {
		if o := objectOf(t, doc); o.Err() == nil || o.Has("a") || len(o.Keys()) != 0 {
			t.Errorf("%s was read as an object", doc)
		}
	}
}

func TestErrorsStayShortWhateverTheyQuote(t *testing.T) {
	long := strings.Repeat("é", 1000)
	o := objectOf(t, `{"`+long+`":{"`+long+`":"`+long+`"}}`)
	o.Object(long).Enum(long, "a")
	if o.Err() == nil {
		t.Fatal("not refused")
	}
	if text := o.Err().Error(); len(text) > 400 || !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		t.Error(text)
	}
}
