package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

const (
	// DefaultFile is read if no other file is named; it alone may be missing.
	DefaultFile       = "/etc/nixfleet/agent/agent.toml"
	environmentPrefix = "NIXFLEET_AGENT_"
	fileVariable      = environmentPrefix + "CONFIG"
	// maxFile bounds the file, many times what every key with a comment needs.
	maxFile = 64 << 10
)

// Refusal says which setting was refused, where it came from and what is allowed. It is of class ErrConfig.
type Refusal struct {
	Key     string // as the file has it, or as it was written if it is unknown
	Value   string
	Source  string // the file, the flag or the variable; "" if there is no value
	Allowed string
}

func (r *Refusal) Error() string {
	if r.Source == "" {
		return fmt.Sprintf("config: %s: missing, want %s", r.Key, r.Allowed)
	}
	return fmt.Sprintf("config: %s: %q from %s refused, want %s", r.Key, r.Value, r.Source, r.Allowed)
}

// Unwrap makes errors.Is(err, ErrConfig) true.
func (r *Refusal) Unwrap() error { return ErrConfig }

// Load reads the settings from the flags in args, the environment and the file that they name, in this order of
// precedence, and validates them. Every refusal is reported, joined. flag.ErrHelp means that help was asked for;
// Usage is the text for it. docs/design/04-agent.md, 4.5.
func Load(args, environ []string) (Config, error) {
	given := values{}
	file := ""
	var problems []error
	flags := flag.NewFlagSet("nixfleet-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&file, "config", "", "")
	for _, k := range keys {
		flags.Func(k.flag(), "", func(v string) error {
			given[k.name] = value{v, "--" + k.flag()}
			return nil
		})
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return Config{}, err
	} else if err != nil {
		problems = append(problems, fmt.Errorf("%w: %w; flags are --config, %s", ErrConfig, err,
			names(func(k key) string { return "--" + k.flag() })))
	} else if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("%w: argument %q, only flags are taken", ErrConfig, flags.Arg(0)))
	}
	fromEnvironment, problem := readEnvironment(environ)
	problems = append(problems, problem)
	named := file
	if named == "" {
		named = fromEnvironment[fileVariable].text
	}
	fromFile, problem := readFile(named)
	problems = append(problems, problem)
	// What is given already stays: flags first, then the environment, then the file.
	for _, source := range []values{fromEnvironment, fromFile} {
		for name, v := range source {
			if _, ok := given[name]; !ok {
				given[name] = v
			}
		}
	}
	c, problem := given.config()
	return c, errors.Join(append(problems, problem)...)
}

// value is one setting as it was written, and where.
type value struct{ text, source string }

// values are settings by key name.
type values map[string]value

func readEnvironment(environ []string) (values, error) {
	given := values{}
	var problems []error
	for _, entry := range environ {
		variable, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(variable, environmentPrefix) {
			continue
		}
		k, known := find(func(k key) bool { return k.variable() == variable })
		switch {
		case known:
			given[k.name] = value{text, variable}
		case variable == fileVariable:
			given[variable] = value{text, variable}
		default:
			problems = append(problems, &Refusal{variable, text, "the environment", "a known variable: " + fileVariable + ", " + names(key.variable)})
		}
	}
	return given, errors.Join(problems...)
}

// readFile reads the TOML file at path, or at DefaultFile if path is "".
func readFile(path string) (values, error) {
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
	given := values{}
	return given, flatten(given, path, "", tree)
}

// flatten turns the file's tables into dotted names and refuses what is no key or no value of its type.
func flatten(given values, file, prefix string, tree map[string]any) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		full := prefix + name
		if table, ok := tree[name].(map[string]any); ok && prefix == "" && name == "intervals" {
			problems = append(problems, flatten(given, file, name+".", table))
			continue
		}
		k, known := find(func(k key) bool { return k.name == full })
		text, isNumber, ok := scalar(tree[name])
		switch {
		case !known:
			problems = append(problems, &Refusal{full, fmt.Sprint(tree[name]), file, "a known key: " + names(func(k key) string { return k.name })})
		case !ok || isNumber != k.number:
			problems = append(problems, &Refusal{full, fmt.Sprint(tree[name]), file, k.kind() + ": " + k.allowed})
		default:
			given[full] = value{text, file}
		}
	}
	return errors.Join(problems...)
}

// kind is the TOML type of the key's values.
func (k key) kind() string {
	if k.number {
		return "a number"
	}
	return "a string"
}

func scalar(v any) (text string, number, ok bool) {
	switch v := v.(type) {
	case string:
		return v, false, true
	case int64:
		return strconv.FormatInt(v, 10), true, true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true, true
	}
	return "", false, false
}

// config makes a Config of what was given and the defaults.
func (given values) config() (Config, error) {
	var c Config
	var problems []error
	for _, k := range keys {
		v, ok := given[k.name]
		if !ok {
			v.text = k.def
		}
		switch {
		case v.text == "" && k.needed:
			problems = append(problems, &Refusal{k.name, "", v.source, k.allowed + fmt.Sprintf(" (key %s in the file, --%s or %s)", k.name, k.flag(), k.variable())})
		case !k.set(&c, v.text):
			problems = append(problems, &Refusal{k.name, v.text, v.source, k.allowed})
		}
	}
	if c.Backend == "directory" && c.DirectoryRoot == "" {
		problems = append(problems, &Refusal{"directoryRoot", "", "", "an absolute path with the directory backend"})
	}
	if c.CurrentSystemPath == "" && c.DirectoryRoot != "" {
		c.CurrentSystemPath = filepath.Join(c.DirectoryRoot, "current-system")
	}
	c.ControlPlaneURL = strings.TrimSuffix(c.ControlPlaneURL, "/")
	return c, errors.Join(problems...)
}

// Usage describes every key, one line each.
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
