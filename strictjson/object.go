package strictjson

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Object reads the named fields of one JSON object. The first error sticks, in this object and in every object
// reached from it, and the methods then return zero values: read everything, ask Err once.
type Object struct {
	value   Value
	parent  *Object // nil for the root
	segment string  // its place in the parent
	err     *error
}

// Object starts reading v, which must be a Map.
func (v Value) Object() *Object {
	o := &Object{value: v, err: new(error)}
	if v.Kind != Map {
		o.fail("", "want an object, got %s", v.Kind)
	}
	return o
}

// Err returns the first error met by this object or any object reached from it.
func (o *Object) Err() error { return *o.err }

// Raw returns the exact bytes of the object.
func (o *Object) Raw() []byte { return o.value.Raw }

// Keys returns the member names in written order.
func (o *Object) Keys() []string { return o.value.Keys() }

// Fail records an error about the field key ("" for the object itself) unless one is recorded already.
func (o *Object) Fail(key, format string, args ...any) { o.fail(key, format, args...) }

func (o *Object) fail(key, format string, args ...any) {
	if *o.err != nil {
		return
	}
	e := &Error{Path: clip(key), Reason: fmt.Sprintf(format, args...)}
	for at := o; at.parent != nil; at = at.parent {
		e.under(clip(at.segment))
	}
	*o.err = e
}

// Has says whether key is there and not null.
func (o *Object) Has(key string) bool {
	v, ok := o.value.Get(key)
	return ok && v.Kind != Null
}

// Defined says whether key is there, null or not.
func (o *Object) Defined(key string) bool {
	_, ok := o.value.Get(key)
	return ok
}

// get returns a required field of the wanted kind.
func (o *Object) get(key string, want Kind) (Value, bool) {
	v, ok := o.value.Get(key)
	switch {
	case *o.err != nil:
		return v, false
	case !ok:
		o.fail(key, "missing, want %s", want)
	case v.Kind != want:
		o.fail(key, "want %s, got %s", want, v.Kind)
	default:
		return v, true
	}
	return v, false
}

// String reads a required string.
func (o *Object) String(key string) string {
	v, _ := o.get(key, String)
	return v.text
}

// OptString reads a string that may be absent or null, "" then.
func (o *Object) OptString(key string) string {
	if !o.Has(key) {
		return ""
	}
	return o.String(key)
}

// Bool reads a required boolean.
func (o *Object) Bool(key string) bool {
	v, ok := o.get(key, Bool)
	return ok && v.Raw[0] == 't'
}

// OptBool reads a boolean that may be absent or null, false then.
func (o *Object) OptBool(key string) bool { return o.Has(key) && o.Bool(key) }

// Uint64 reads a required unsigned integer; fractions, exponents and signs are refused.
func (o *Object) Uint64(key string) uint64 { return o.unsigned(key, 64) }

// Uint32 reads a required unsigned integer of 32 bits.
func (o *Object) Uint32(key string) uint32 { return uint32(o.unsigned(key, 32)) }

// OptUint64 reads an unsigned integer that may be absent or null, 0 then.
func (o *Object) OptUint64(key string) uint64 {
	if !o.Has(key) {
		return 0
	}
	return o.Uint64(key)
}

// OptUint32 reads an unsigned 32-bit integer that may be absent or null, 0 then.
func (o *Object) OptUint32(key string) uint32 {
	if !o.Has(key) {
		return 0
	}
	return o.Uint32(key)
}

// Int32 reads a required signed integer of 32 bits.
func (o *Object) Int32(key string) int32 {
	v, ok := o.get(key, Number)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(v.Raw), 10, 32)
	if err != nil {
		o.fail(key, "%s is not an integer from -2147483648 to 2147483647", clip(string(v.Raw)))
		return 0
	}
	return int32(n)
}

func (o *Object) unsigned(key string, bits int) uint64 {
	v, ok := o.get(key, Number)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(string(v.Raw), 10, bits)
	if err != nil {
		o.fail(key, "%s is not an integer from 0 to %d", clip(string(v.Raw)), uint64(1)<<(bits-1)<<1-1)
		return 0
	}
	return n
}

// Time reads a required RFC 3339 time with an offset, as UTC.
func (o *Object) Time(key string) time.Time {
	v, ok := o.get(key, String)
	if !ok {
		return time.Time{}
	}
	t, err := ParseTime(v.text)
	if err != nil {
		o.fail(key, "%q is not an RFC 3339 time with an offset, such as 2026-01-02T15:04:05Z", clip(v.text))
	}
	return t
}

// OptTime reads a time that may be absent or null, the zero time then.
func (o *Object) OptTime(key string) time.Time {
	if !o.Has(key) {
		return time.Time{}
	}
	return o.Time(key)
}

// Enum reads a required string that must be one of allowed.
func (o *Object) Enum(key string, allowed ...string) string {
	s := o.String(key)
	if *o.err != nil {
		return ""
	}
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	o.fail(key, "%q is unknown, want one of %s", clip(s), strings.Join(allowed, ", "))
	return ""
}

// OptEnum reads an enumerated string that may be absent or null, def then.
func (o *Object) OptEnum(key, def string, allowed ...string) string {
	if !o.Has(key) {
		return def
	}
	return o.Enum(key, allowed...)
}

// Object reads a required object.
func (o *Object) Object(key string) *Object {
	v, _ := o.get(key, Map)
	return &Object{value: v, parent: o, segment: key, err: o.err}
}

// OptObject reads an object that may be absent or null, nil then.
func (o *Object) OptObject(key string) *Object {
	if !o.Has(key) {
		return nil
	}
	return o.Object(key)
}

// Value reads any required, non-null value as it is.
func (o *Object) Value(key string) Value {
	v, ok := o.value.Get(key)
	if !ok || v.Kind == Null {
		o.fail(key, "missing")
	}
	return v
}

// Objects reads a required array whose elements must all be objects.
func (o *Object) Objects(key string) []*Object {
	v, _ := o.get(key, Array)
	out := make([]*Object, 0, len(v.elems))
	for i, e := range v.elems {
		if e.Kind != Map {
			o.fail(key+index(i), "want an object, got %s", e.Kind)
			return nil
		}
		out = append(out, &Object{value: e, parent: o, segment: key + index(i), err: o.err})
	}
	return out
}

// OptObjects reads an array of objects that may be absent or null, nil then.
func (o *Object) OptObjects(key string) []*Object {
	if !o.Has(key) {
		return nil
	}
	return o.Objects(key)
}

// Strings reads a required array whose elements must all be strings.
func (o *Object) Strings(key string) []string {
	v, _ := o.get(key, Array)
	out := make([]string, 0, len(v.elems))
	for i, e := range v.elems {
		if e.Kind != String {
			o.fail(key+index(i), "want a string, got %s", e.Kind)
			return nil
		}
		out = append(out, e.text)
	}
	return out
}

// OptStrings reads an array of strings that may be absent or null, nil then.
func (o *Object) OptStrings(key string) []string {
	if !o.Has(key) {
		return nil
	}
	return o.Strings(key)
}
