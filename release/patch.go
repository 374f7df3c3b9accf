package release

import (
	"encoding/json"
	"fmt"
	"slices"

	"nixfleet/strictjson"
)

// member is one member of an object and what to put there, as raw JSON; nil leaves it out.
type member struct {
	key string
	raw []byte
}

// patch returns an object with some of its members replaced, added or left out. All others keep their exact bytes,
// those unknown to us among them.
func patch(raw []byte, set ...member) ([]byte, error) {
	v, err := strictjson.Parse(raw, strictjson.DocumentLimits)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return patchValue(v, len(raw), set)
}

func patchValue(v strictjson.Value, size int, set []member) ([]byte, error) {
	if v.Kind != strictjson.Map {
		return nil, fmt.Errorf("release: want an object, got %s", v.Kind)
	}
	out := append(make([]byte, 0, size+256), '{')
	add := func(key string, raw []byte) error {
		if raw == nil {
			return nil
		}
		name, err := json.Marshal(key)
		if err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), raw...)
		return nil
	}
	for key, value := range v.Members() {
		if slices.ContainsFunc(set, func(m member) bool { return m.key == key }) {
			continue
		}
		if err := add(key, value.Raw); err != nil {
			return nil, err
		}
	}
	for _, m := range set {
		if err := add(m.key, m.raw); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// patchMeta returns a document with members of its meta replaced, and others beside it.
func patchMeta(raw []byte, meta []member, beside ...member) ([]byte, error) {
	v, err := strictjson.Parse(raw, strictjson.DocumentLimits)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	old := []byte("{}")
	if m, ok := v.Get("meta"); ok && m.Kind == strictjson.Map {
		old = m.Raw
	}
	patched, err := patch(old, meta...)
	if err != nil {
		return nil, err
	}
	return patchValue(v, len(raw), append(beside, member{"meta", patched}))
}

func quoted(s string) ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return raw, nil
}
