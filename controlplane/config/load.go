package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

const (
	// DefaultFile is read if no other file is named; it alone may be missing.
	DefaultFile       = "/etc/nixfleet/cp.toml"
	environmentPrefix = "NIXFLEET_CP_"
	fileVariable      = environmentPrefix + "CONFIG"
	// maxFile bounds the file, many times what every key with a comment needs.
	maxFile = 64 << 10
)

// ErrConfig is the class of every refusal.
var ErrConfig = errors.New("config: refused")

// Refusal says which setting was refused, where it came from and what is allowed. It is of class ErrConfig.
type Refusal struct {
	Key, Value string
	Source     string // the file, the flag or the variable
	Allowed    string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("config: %s: %q from %s refused, want %s", r.Key, r.Value, r.Source, r.Allowed)
}

// Unwrap makes errors.Is(err, ErrConfig) true.
func (r *Refusal) Unwrap() error { return ErrConfig }

// value is one setting as it was written, and where.
type value struct{ text, source string }

// Load reads the settings from the flags in args, the environment and the file that they name, in this order of
// precedence. Every refusal is reported, joined. flag.ErrHelp means that help was asked for; Usage is the text for it.
func Load(args, environ []string) (Settings, error) {
	given, file := map[string]value{}, ""
	var problems []error
	flags := flag.NewFlagSet("nixfleet-cp", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&file, "config", "", "")
	for _, k := range keys {
		flags.Func(k.flag(), "", func(v string) error {
			given[k.name] = value{v, "--" + k.flag()}
			return nil
		})
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return Settings{}, err
	case err != nil:
		problems = append(problems, fmt.Errorf("%w: %w", ErrConfig, err))
	case flags.NArg() > 0:
		problems = append(problems, fmt.Errorf("%w: argument %q, only flags are taken", ErrConfig, flags.Arg(0)))
	}
	fromEnvironment, problem := readEnvironment(environ)
	problems = append(problems, problem)
	if file == "" {
		file = fromEnvironment[fileVariable].text
	}
	fromFile, problem := readFile(file)
	problems = append(problems, problem)
	for _, source := range []map[string]value{fromEnvironment, fromFile} {
		for name, v := range source {
			if _, ok := given[name]; !ok {
				given[name] = v
			}
		}
	}
	s, problem := settings(given)
	return s, errors.Join(append(problems, problem)...)
}

func readEnvironment(environ []string) (map[string]value, error) {
	given := map[string]value{}
	var problems []error
	for _, entry := range environ {
		variable, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(variable, environmentPrefix) {
			continue
		}
		i := slices.IndexFunc(keys, func(k key) bool { return k.variable() == variable })
		switch {
		case i >= 0:
			given[keys[i].name] = value{text, variable}
		case variable == fileVariable:
			given[variable] = value{text, variable}
		default:
			problems = append(problems, &Refusal{variable, text, "the environment", "a known variable: " + fileVariable + ", " + list(key.variable)})
		}
	}
	return given, errors.Join(problems...)
}

// readFile reads the TOML file at path, or at DefaultFile if path is "".
func readFile(path string) (map[string]value, error) {
	optional := path == ""
	if optional {
		path = DefaultFile
	}
	f, err := os.Open(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the file: %w", ErrConfig, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%w: the file: %w", ErrConfig, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrConfig, path, maxFile)
	}
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	given := map[string]value{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		v, err := fromTree(path, name, tree[name])
		problems = append(problems, err)
		given[name] = v
	}
	return given, errors.Join(problems...)
}

func fromTree(file, name string, v any) (value, error) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return value{}, &Refusal{name, fmt.Sprint(v), file, "a known key: " + list(func(k key) string { return k.name })}
	}
	k := keys[i]
	switch v := v.(type) {
	case string:
		if !k.number {
			return value{v, file}, nil
		}
	case int64:
		if k.number {
			return value{strconv.FormatInt(v, 10), file}, nil
		}
	case float64:
		if k.number {
			return value{strconv.FormatFloat(v, 'g', -1, 64), file}, nil
		}
	}
	kind := "a string"
	if k.number {
		kind = "a number"
	}
	return value{}, &Refusal{name, fmt.Sprint(v), file, kind + ": " + k.allowed}
}

// settings makes Settings of what was given and the defaults.
func settings(given map[string]value) (Settings, error) {
	var s Settings
	var problems []error
	for _, k := range keys {
		v, ok := given[k.name]
		if !ok {
			v = value{k.def, "the default"}
		}
		if !k.set(&s, v.text) || v.text == "" && !k.optional {
			problems = append(problems, &Refusal{k.name, v.text, v.source, k.allowed})
		}
	}
	return s, errors.Join(problems...)
}

func list(of func(key) string) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = of(k)
	}
	return strings.Join(all, ", ")
}

// Usage describes every key, two lines each.
func Usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  --config PATH (%s)\n        the file with the settings, %s\n", fileVariable, DefaultFile)
	for _, k := range keys {
		def := ""
		if k.def != "" {
			def = ", default " + k.def
		}
		fmt.Fprintf(&b, "  --%s (%s, %s)\n        %s: %s%s\n", k.flag(), k.variable(), k.name, k.about, k.allowed, def)
	}
	return b.String()
}
