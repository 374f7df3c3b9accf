package fleet

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// ErrDocument is the class of every document that is refused for its form. The error names path, value and what is
// allowed there.
var ErrDocument = errors.New("fleet: malformed document")

// maxMinutes bounds every duration in minutes as host.MaxSoakSeconds bounds those in seconds.
const maxMinutes = host.MaxSoakSeconds / 60

// document parses bytes into an object to read fields from.
func document(data []byte) (*strictjson.Object, error) {
	v, err := strictjson.Parse(data, strictjson.DocumentLimits)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return v.Object(), nil
}

// finish turns the first error met in o into one of this package.
func finish(what string, o *strictjson.Object) error {
	if err := o.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDocument, what, err)
	}
	return nil
}

// text reads a required string of 1 to most bytes.
func text(o *strictjson.Object, key string, most int) string {
	s := o.String(key)
	if s == "" || len(s) > most {
		o.Fail(key, "%d bytes, want 1 to %d", len(s), most)
	}
	return s
}

// optText reads a string of at most most bytes that may be absent.
func optText(o *strictjson.Object, key string, most int) string {
	s := o.OptString(key)
	if len(s) > most {
		o.Fail(key, "%d bytes, at most %d allowed", len(s), most)
	}
	return s
}

// optTexts reads a list of at most count strings of 1 to most bytes that may be absent.
func optTexts(o *strictjson.Object, key string, count, most int) []string {
	list := o.OptStrings(key)
	if len(list) > count {
		o.Fail(key, "%d entries, at most %d allowed", len(list), count)
	}
	for i, s := range list {
		if s == "" || len(s) > most {
			o.Fail(fmt.Sprintf("%s[%d]", key, i), "%d bytes, want 1 to %d", len(s), most)
		}
	}
	return list
}

// hostname reads a required host name.
func hostname(o *strictjson.Object, key string) string {
	s := o.String(key)
	if err := ValidateHostname(s); err != nil {
		o.Fail(key, "%v", err)
	}
	return s
}

// hostnames reads a list of host names. Absent and null mean none only where optional.
func hostnames(o *strictjson.Object, key string, optional bool) []string {
	read := o.Strings
	if optional {
		read = o.OptStrings
	}
	list := read(key)
	if len(list) > MaxHosts {
		o.Fail(key, "%d hosts, at most %d allowed", len(list), MaxHosts)
	}
	for i, s := range list {
		if err := ValidateHostname(s); err != nil {
			o.Fail(fmt.Sprintf("%s[%d]", key, i), "%v", err)
		}
	}
	return list
}

// closure reads a required closure name.
func closure(o *strictjson.Object, key string) string {
	s := o.String(key)
	if err := ValidateClosure(s); err != nil {
		o.Fail(key, "%v", err)
	}
	return s
}

// number reads a required integer from least to most.
func number(o *strictjson.Object, key string, least, most uint64) uint64 {
	n := o.Uint64(key)
	if n < least || n > most {
		o.Fail(key, "%d is not an integer from %d to %d", n, least, most)
	}
	return n
}

// optNumber reads an integer up to most that may be absent, def then.
func optNumber(o *strictjson.Object, key string, def, most uint64) uint64 {
	if !o.Has(key) {
		return def
	}
	return number(o, key, 0, most)
}

// optPointer reads an integer up to most that may be absent, nil then.
func optPointer(o *strictjson.Object, key string, most uint64) *uint64 {
	if !o.Has(key) {
		return nil
	}
	n := number(o, key, 0, most)
	return &n
}

// optUint32 is optPointer of 32 bits.
func optUint32(o *strictjson.Object, key string, most uint32) *uint32 {
	p := optPointer(o, key, uint64(most))
	if p == nil {
		return nil
	}
	n := uint32(*p)
	return &n
}

// optRaw copies any value that may be absent or null, nil then: the input may be reused, the copy is kept.
func optRaw(o *strictjson.Object, key string) []byte {
	if !o.Has(key) {
		return nil
	}
	return slices.Clone(o.Value(key).Raw)
}

// objects reads a list of at most most objects that may be absent.
func objects(o *strictjson.Object, key string, most int) []*strictjson.Object {
	list := o.OptObjects(key)
	if len(list) > most {
		o.Fail(key, "%d entries, at most %d allowed", len(list), most)
		return nil
	}
	return list
}

func onFailure(o *strictjson.Object, key string) host.OnFailure {
	name := o.Enum(key, host.OnFailureNames[host.Halt], host.OnFailureNames[host.RollbackAndHalt])
	return host.OnFailure(max(0, slices.Index(host.OnFailureNames[:], name)))
}

// parseMeta reads meta, which may be absent as long as nothing was signed.
func parseMeta(o *strictjson.Object) Meta {
	m := o.OptObject("meta")
	if m == nil {
		return Meta{}
	}
	return Meta{
		SchemaVersion:      m.OptUint64("schemaVersion"),
		SignedAt:           m.OptTime("signedAt"),
		CICommit:           optText(m, "ciCommit", MaxRolloutID),
		SignatureAlgorithm: optText(m, "signatureAlgorithm", MaxName),
	}
}

func parseSelector(o *strictjson.Object, key string) Selector {
	s := o.Object(key)
	if o.Err() != nil {
		return Selector{}
	}
	return Selector{
		Tags:    optTexts(s, "tags", MaxTags, MaxName),
		TagsAny: optTexts(s, "tagsAny", MaxTags, MaxName),
		Hosts:   hostnames(s, "hosts", true),
		Channel: optText(s, "channel", MaxName),
		All:     s.OptBool("all"),
	}
}

// utc is the form of every time written here: UTC, and to the second, which is what is signed.
func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
