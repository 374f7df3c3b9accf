package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nixfleet/demo"
)

func TestMain(m *testing.M) {
	// The demo starts this very program again as switch helper, agent and control plane.
	if role, args, ok := demo.Role(os.Args[1:]); ok {
		os.Exit(role(args))
	}
	os.Exit(m.Run())
}

func TestAGoodReleaseConvergesABadOneTakesItselfBackAndBothLogsAgree(t *testing.T) {
	t.Parallel()
	keep := filepath.Join(t.TempDir(), "demo")
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Hosts: 4, Once: true, JSON: true, Keep: keep, Out: &out, Err: os.Stderr}); err != nil {
		t.Fatal(err)
	}
	last := map[string]string{} // by host and rollout
	for line := range strings.Lines(out.String()) {
		var tr demo.Transition
		if err := json.Unmarshal([]byte(line), &tr); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		key := tr.Host + " " + tr.RolloutID
		if from := last[key]; from != "" && from != tr.From {
			t.Errorf("%s goes from %s, was %s", key, tr.From, from)
		}
		last[key] = tr.To
	}
	want := map[string]string{
		"web-01 stable@v1": "Converged", "web-04 stable@v1": "Converged", "web-01 stable@v2": "Converged", "web-04 stable@v2": "Converged",
		"web-01 stable@v3": "Reverted", "web-02 stable@v3": "Reverted", "web-03 stable@v3": "", "web-04 stable@v3": "",
	}
	for key, state := range want {
		if last[key] != state {
			t.Errorf("%s ends %q, want %q", key, last[key], state)
		}
	}
	for _, path := range []string{"cp/nixfleet.db", "hosts/web-01/state", "hosts/web-01/store", "hosts/web-01/current-system"} {
		if _, err := os.Lstat(filepath.Join(keep, path)); err != nil {
			t.Error(err)
		}
	}
}

func TestProcessesKilledDuringARolloutChangeNothingInItsEnding(t *testing.T) {
	t.Parallel()
	if err := demo.Run(t.Context(), demo.Options{Hosts: 3, Once: true, Chaos: true, Seed: 7, JSON: true, Out: t.Output(), Err: os.Stderr}); err != nil {
		t.Fatal(err)
	}
}

func TestOptionsThatMakeNoDemoAreRefusedBeforeAnythingIsMade(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]demo.Options{
		"one host":        {Hosts: 1},
		"too many hosts":  {Hosts: demo.MaxHosts + 1},
		"a folder in use": {Hosts: 2, Keep: full},
	} {
		if err := demo.Run(t.Context(), o); !errors.Is(err, demo.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
