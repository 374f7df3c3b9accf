package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrMalformed is the class of every error of this package.
var ErrMalformed = errors.New("malformed JSON")

// Error says where a document is wrong and what is allowed there.
type Error struct {
	Path   string // dotted path from the document's root, "" for the root itself
	Reason string // what was found and what is allowed
}

func (e *Error) Error() string {
	if e.Path == "" {
		return "strictjson: " + e.Reason
	}
	return "strictjson: " + e.Path + ": " + e.Reason
}

// Unwrap makes errors.Is(err, ErrMalformed) true.
func (e *Error) Unwrap() error { return ErrMalformed }

// under puts segment before the path. Paths grow on the way out of an error only, so that reading what is right
// makes none.
func (e *Error) under(segment string) *Error {
	switch {
	case e.Path == "":
		e.Path = segment
	case e.Path[0] == '[':
		e.Path = segment + e.Path
	default:
		e.Path = segment + "." + e.Path
	}
	return e
}

// Limits bound what Parse accepts.
type Limits struct {
	Bytes int // longest document
	Depth int // deepest nesting of arrays and objects
}

// DefaultLimits fit a wire body: 1 MiB, and three times the depth any message of the protocol has.
var DefaultLimits = Limits{Bytes: 1 << 20, Depth: 32}

// DocumentLimits fit a signed document: 32 MiB holds a fleet of 100,000 hosts.
var DocumentLimits = Limits{Bytes: 32 << 20, Depth: 32}

// Kind is the JSON type of a [Value].
type Kind uint8

// The JSON types.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Map
)

var kindNames = [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}

func (k Kind) String() string { return kindNames[k] }

// Value is one JSON value: what it is, its text, and its children.
type Value struct {
	Kind    Kind
	Raw     []byte // the value's exact bytes in the input
	text    string // decoded string
	members []member
	elems   []Value
}

type member struct {
	key   string
	value Value
}

// Text returns the decoded string of a String value and "" for any other.
func (v Value) Text() string { return v.text }

// Elems returns the elements of an Array in order, nil for any other kind.
func (v Value) Elems() []Value { return v.elems }

// Keys returns the member names of a Map in the order they were written.
func (v Value) Keys() []string {
	keys := make([]string, len(v.members))
	for i := range v.members {
		keys[i] = v.members[i].key
	}
	return keys
}

// Get returns the member called key and whether there is one.
func (v Value) Get(key string) (Value, bool) {
	for i := range v.members {
		if v.members[i].key == key {
			return v.members[i].value, true
		}
	}
	return Value{}, false
}

// Parse reads exactly one JSON value. It refuses, with an [*Error]: more than lim allows, invalid UTF-8, lone
// surrogates, duplicate keys at any depth and everything RFC 8259 refuses. Numbers are kept as text.
func Parse(data []byte, lim Limits) (Value, error) {
	if len(data) > lim.Bytes {
		return Value{}, &Error{Reason: fmt.Sprintf("%d bytes, at most %d allowed", len(data), lim.Bytes)}
	}
	if !utf8.Valid(data) {
		return Value{}, &Error{Reason: "not valid UTF-8"}
	}
	if !json.Valid(data) {
		return Value{}, syntaxError(data)
	}
	p := parser{data: data, depth: lim.Depth}
	v, err := p.value()
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

// syntaxError asks encoding/json for the offset of what json.Valid refused.
func syntaxError(data []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	var se *json.SyntaxError
	if errors.As(err, &se) {
		return &Error{Reason: fmt.Sprintf("%s at byte %d", se.Error(), se.Offset)}
	}
	return &Error{Reason: "not one JSON value"}
}

// parser walks bytes that json.Valid accepted, so it needs no grammar checks of its own.
type parser struct {
	data  []byte
	at    int
	depth int
}

func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) value() (Value, *Error) {
	p.space()
	start := p.at
	switch p.data[p.at] {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		s, err := p.str()
		return Value{Kind: String, Raw: p.data[start:p.at], text: s}, err
	case 'n':
		p.at += len("null")
		return Value{Kind: Null, Raw: p.data[start:p.at]}, nil
	case 't':
		p.at += len("true")
		return Value{Kind: Bool, Raw: p.data[start:p.at]}, nil
	case 'f':
		p.at += len("false")
		return Value{Kind: Bool, Raw: p.data[start:p.at]}, nil
	default:
		for p.at < len(p.data) && isNumberByte(p.data[p.at]) {
			p.at++
		}
		return Value{Kind: Number, Raw: p.data[start:p.at]}, nil
	}
}

func isNumberByte(b byte) bool {
	return b >= '0' && b <= '9' || b == '-' || b == '+' || b == '.' || b == 'e' || b == 'E'
}

func (p *parser) enter() *Error {
	p.depth--
	if p.depth < 0 {
		return &Error{Reason: "nested too deeply"}
	}
	return nil
}

func (p *parser) object() (Value, *Error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	v := Value{Kind: Map}
	start := p.at
	p.at++
	var seen map[string]struct{}
	for {
		p.space()
		if p.data[p.at] == '}' {
			p.at++
			break
		}
		if p.data[p.at] == ',' {
			p.at++
			p.space()
		}
		key, err := p.str()
		if err != nil {
			return Value{}, err
		}
		if seen = v.note(key, seen); seen == nil {
			return Value{}, &Error{Path: clip(key), Reason: "duplicate key"}
		}
		p.space()
		p.at++ // the colon
		child, err := p.value()
		if err != nil {
			return Value{}, err.under(clip(key))
		}
		v.members = append(v.members, member{key, child})
	}
	p.depth++
	v.Raw = p.data[start:p.at]
	return v, nil
}

var small = map[string]struct{}{}

// note records a key and returns the set to use next, nil if key was there already. Small objects are searched
// in place; a set is made only for large ones, so that neither kind costs more than it must.
func (v *Value) note(key string, seen map[string]struct{}) map[string]struct{} {
	const inPlace = 16
	if len(v.members) < inPlace {
		if _, dup := v.Get(key); dup {
			return nil
		}
		return small
	}
	if len(v.members) == inPlace {
		seen = make(map[string]struct{}, 2*inPlace)
		for i := range v.members {
			seen[v.members[i].key] = struct{}{}
		}
	}
	if _, dup := seen[key]; dup {
		return nil
	}
	seen[key] = struct{}{}
	return seen
}

func (p *parser) array() (Value, *Error) {
	if err := p.enter(); err != nil {
		return Value{}, err
	}
	v := Value{Kind: Array, elems: []Value{}}
	start := p.at
	p.at++
	for {
		p.space()
		if p.data[p.at] == ']' {
			p.at++
			break
		}
		if p.data[p.at] == ',' {
			p.at++
		}
		child, err := p.value()
		if err != nil {
			return Value{}, err.under(index(len(v.elems)))
		}
		v.elems = append(v.elems, child)
	}
	p.depth++
	v.Raw = p.data[start:p.at]
	return v, nil
}

// str reads a string at the cursor. Escapes are rare, so the common case is one copy.
func (p *parser) str() (string, *Error) {
	p.at++
	start := p.at
	for p.data[p.at] != '"' && p.data[p.at] != '\\' {
		p.at++
	}
	if p.data[p.at] == '"' {
		p.at++
		return string(p.data[start : p.at-1]), nil
	}
	buf := append(make([]byte, 0, 2*(p.at-start)+16), p.data[start:p.at]...)
	for {
		switch c := p.data[p.at]; c {
		case '"':
			p.at++
			return string(buf), nil
		case '\\':
			var ok bool
			if buf, ok = p.escape(buf); !ok {
				return "", &Error{Reason: "lone surrogate in a string"}
			}
		default:
			buf = append(buf, c)
			p.at++
		}
	}
}

// simpleEscapes maps the letter behind a backslash to the byte it stands for.
var simpleEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) escape(buf []byte) ([]byte, bool) {
	c := p.data[p.at+1]
	if c != 'u' {
		p.at += 2
		return append(buf, simpleEscapes[c]), true
	}
	r := p.hex4(p.at + 2)
	p.at += 6
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(buf, r), true
	}
	if p.data[p.at] != '\\' || p.data[p.at+1] != 'u' {
		return buf, false
	}
	r = utf16.DecodeRune(r, p.hex4(p.at+2))
	p.at += 6
	return utf8.AppendRune(buf, r), r != utf8.RuneError
}

func (p *parser) hex4(at int) rune {
	n, err := strconv.ParseUint(string(p.data[at:at+4]), 16, 16)
	if err != nil {
		return utf8.RuneError // json.Valid has refused this already
	}
	return rune(n)
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// clip keeps an error message short whatever it quotes.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
