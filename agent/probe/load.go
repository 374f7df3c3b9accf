package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// Load reads the declarations at path. It does not fail: a missing file declares nothing, and any other defect
// becomes the enforce probe BuiltIn beside the probes that could be read. floor is the smallest interval that is
// accepted, DefaultFloor on a real host. docs/design/06-activation-and-probes.md, 6.2.
func Load(path string, floor time.Duration) Declarations {
	data, err := read(path)
	switch {
	case errors.Is(err, errNone):
		return Declarations{}
	case err != nil:
		return Declarations{Probes: []Declared{builtIn([]string{err.Error()})}}
	}
	return Parse(data, floor)
}

// errNone: there is no file, which is an answer.
var errNone = errors.New("probe: no declarations")

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// A symlink to nothing is a file that cannot be read, not the absence of one.
		if _, linkErr := os.Lstat(path); errors.Is(linkErr, fs.ErrNotExist) {
			return nil, errNone
		}
	}
	if err != nil {
		return nil, fmt.Errorf("probe: declarations: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, fmt.Errorf("probe: declarations: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("probe: declarations: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("probe: declarations: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("probe: declarations: %s is longer than %d bytes", path, MaxFile)
	}
	return data, nil
}

// Parse is Load for a file's content.
func Parse(data []byte, floor time.Duration) Declarations {
	v, err := strictjson.Parse(data, strictjson.DefaultLimits)
	if err == nil && v.Kind != strictjson.Map {
		err = fmt.Errorf("want an object {name: probe}, got %s", v.Kind)
	}
	names := v.Keys()
	if err == nil && len(names) >= MaxProbes {
		err = fmt.Errorf("%d probes, at most %d may be declared", len(names), MaxProbes-1)
	}
	if err != nil {
		return Declarations{Probes: []Declared{builtIn([]string{"probe: declarations: " + err.Error()})}}
	}
	var d Declarations
	var defects []string
	for _, name := range names {
		body, ok := v.Get(name)
		if !ok {
			continue // Keys and Get speak of the same members
		}
		p, err := parseProbe(name, body, floor)
		if err != nil {
			defects = append(defects, fmt.Sprintf("probe: declarations: %q: %s", name, err))
			continue
		}
		d.Probes = append(d.Probes, p)
	}
	if defects != nil {
		d.Probes = append(d.Probes, builtIn(defects))
	}
	slices.SortFunc(d.Probes, func(a, b Declared) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// commonFields are those that every kind has.
var commonFields = []string{"kind", "mode", "intervalSeconds", "runOnce"}

func parseProbe(name string, body strictjson.Value, floor time.Duration) (Declared, error) {
	if err := checkName(name); err != nil {
		return Declared{}, err
	}
	o := body.Object()
	kindName := o.Enum("kind", kindNames()...)
	// Who names no mode wants the check to count: that can only make the gate tighter.
	mode := o.OptEnum("mode", host.Enforce.String(), host.ModeNames[:]...)
	p := Declared{
		Name: name, Kind: kindName, Mode: host.Mode(max(0, slices.Index(host.ModeNames[:], mode))),
		Interval: seconds(o, "intervalSeconds", DefaultInterval, floor, MaxInterval),
		RunOnce:  o.OptBool("runOnce"),
	}
	if err := o.Err(); err != nil {
		return Declared{}, err
	}
	k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == kindName })]
	// An ignored field could be the misspelt half of a check.
	for _, key := range o.Keys() {
		if !slices.Contains(commonFields, key) && !slices.Contains(k.fields, key) {
			o.Fail(key, "unknown field, %s probes have %s", kindName, strings.Join(append(slices.Clone(commonFields), k.fields...), ", "))
		}
	}
	p.Check, p.Timeout = k.parse(o)
	return p, o.Err()
}

func checkName(name string) error {
	switch {
	case name == "" || len(name) > MaxName:
		return fmt.Errorf("a name has 1 to %d bytes, this one %d", MaxName, len(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("a name has no control characters")
	case name == BuiltIn:
		return errors.New("the name is that of the built-in probe, choose another")
	}
	return nil
}

// seconds reads an optional number of whole seconds, def where there is none. Outside of least and most it is refused.
func seconds(o *strictjson.Object, key string, def, least, most time.Duration) time.Duration {
	if !o.Has(key) {
		return max(def, least)
	}
	n := o.Uint64(key)
	d := time.Duration(min(n, uint64(most/time.Second)+1)) * time.Second
	if d < least || d > most {
		o.Fail(key, "%d s, want %s to %s", n, least, most)
	}
	return d
}

// number reads an optional unsigned integer within bounds, def where there is none.
func number(o *strictjson.Object, key string, def, least, most uint64) uint64 {
	if !o.Has(key) {
		return def
	}
	n := o.Uint64(key)
	if n < least || n > most {
		o.Fail(key, "%d, want %d to %d", n, least, most)
	}
	return n
}

// defective is the check of the built-in probe.
type defective struct{ defects []string }

func (d defective) Run(context.Context) ([]host.SubResult, error) {
	return nil, errors.New(strings.Join(d.defects, "; "))
}

func builtIn(defects []string) Declared {
	return Declared{
		Name: BuiltIn, Kind: BuiltIn, Mode: host.Enforce,
		Interval: DefaultInterval, Timeout: DefaultInterval, Check: defective{defects: defects},
	}
}
