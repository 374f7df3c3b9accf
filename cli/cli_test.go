package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nixfleet/cli"
)

// ran is what one command did.
type ran struct {
	code     int
	out, err string
}

func run(t *testing.T, in string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &out, Err: &errs})
	return ran{code, out.String(), errs.String()}
}

func (r ran) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("does not say %q:\n%s%s", text, r.out, r.err)
		}
	}
}

func TestKeysAreMadeOnceWithSafePermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	run(t, "", "keys", "init", "--dir", dir, "--server-name", "cp.example.org").want(t, cli.ExitDone, "release.key", "trust.json")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", e.Name(), info.Mode().Perm())
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "release.key"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, "", "keys", "init", "--dir", dir).want(t, cli.ExitNo, "not overwritten", "release.key")
	run(t, "", "keys", "operator", "eve", "--dir", dir).want(t, cli.ExitDone, "operator-eve.pem")
	run(t, "", "keys", "operator", "eve", "--dir", dir).want(t, cli.ExitNo, "not overwritten")
	if after, err := os.ReadFile(filepath.Join(dir, "release.key")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the release key changed: %v", err)
	}
}

const fleetFile = `{
	"schemaVersion": 1,
	"hosts": {
		"a": {"system": "x86_64-linux", "tags": ["canary"], "channel": "stable", "closureHash": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-one"},
		"b": {"system": "x86_64-linux", "tags": ["web"], "channel": "stable", "closureHash": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-one"}
	},
	"channels": {"stable": {"rolloutPolicy": "p", "freshnessWindow": 60}},
	"rolloutPolicies": {"p": {"onHealthFailure": "rollback-and-halt", "waves": [
		{"selector": {"tags": ["canary"]}, "soakMinutes": 5}, {"selector": {"all": true}, "soakMinutes": 1}]}},
	"meta": {"schemaVersion": 1}
}`

func TestAReleaseIsPlannedSignedPublishedOnceAndSignedAnew(t *testing.T) {
	dir := t.TempDir()
	keys, out := filepath.Join(dir, "keys"), filepath.Join(dir, "published")
	run(t, "", "keys", "init", "--dir", keys).want(t, cli.ExitDone)
	common := []string{"--keys", keys, "--out", out}
	release := func(in string, args ...string) ran {
		return run(t, in, append(append([]string{"release"}, args...), common...)...)
	}

	release(fleetFile, "-", "--ref", "stable=abc", "--plan").want(t, cli.ExitDone, "stable@abc", "a")
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a plan wrote something: %v", err)
	}
	release(fleetFile, "-", "--ref", "stable=abc").want(t, cli.ExitDone, "stable@abc", "2 tickets")
	release(fleetFile, "-", "--ref", "stable=abc").want(t, cli.ExitNo, "abc")
	release("", "--resign").want(t, cli.ExitDone, "stable@abc")
	release(fleetFile, "-").want(t, cli.ExitNo, "ciCommit")
	release(fleetFile, "-", "--ref", "stable").want(t, cli.ExitUsage, "CHANNEL=REF")
	release("").want(t, cli.ExitUsage, "fleet file")
	release(`{"schemaVersion": 1}`, "-", "--ref", "stable=x").want(t, cli.ExitNo, "hosts")
	release("", filepath.Join(dir, "missing.json")).want(t, cli.ExitReach, "missing.json")
	for _, path := range []string{"fleet.resolved.json", "fleet.resolved.json.sig", "rollouts/stable@abc.json", "tickets/stable@abc.jsonl"} {
		if _, err := os.Stat(filepath.Join(out, path)); err != nil {
			t.Error(err)
		}
	}
}

func TestReplayStepsJSONLinesAndSaysWhichWereMalformed(t *testing.T) {
	const state = `{"state": {"rolloutId": "c@1", "hostname": "h", "channel": "c", "state": "Pending", "targetClosure": "t", ` +
		`"dispatchedAt": "2026-01-01T00:00:00Z", "lastEventSeq": 0}, "policy": {"onHealthFailure": "halt", "soakSeconds": 60}}`
	const event = `{"event": {"kind": "LocalActivate", "currentClosureAtDispatch": "p", "receivedAt": "2026-01-01T00:00:01Z", "seq": 1}}`
	r := run(t, state+"\n\n"+event+"\n"+event+"\n", "replay", "-")
	r.want(t, cli.ExitDone, "LocalFireSwitch", "seq-regression")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want one per event:\n%s", len(lines), r.out)
	}
	var first struct {
		OK    bool `json:"ok"`
		State struct {
			State string `json:"state"`
		} `json:"state"`
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || !first.OK || first.State.State != "Activating" {
		t.Errorf("%s: %v", lines[0], err)
	}
	run(t, "{}\n", "replay", "-").want(t, cli.ExitReach, "malformed")
	run(t, "", "replay", filepath.Join(t.TempDir(), "nothing")).want(t, cli.ExitReach)
	run(t, "", "replay", t.TempDir()).want(t, cli.ExitReach, "no journal")
	run(t, "", "replay").want(t, cli.ExitUsage)
}

func TestACommandThatCannotReachTheControlPlaneSaysSo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	run(t, "", "keys", "init", "--dir", dir).want(t, cli.ExitDone)
	for _, args := range [][]string{{"status"}, {"hosts"}, {"rollouts"}, {"why", "h"}, {"trace", "h"}, {"quarantine"}} {
		// Nothing listens on port 1 of loopback.
		run(t, "", append(args, "--keys", dir, "--url", "https://127.0.0.1:1")...).want(t, cli.ExitReach, "cannot be reached", "127.0.0.1:1")
	}
	run(t, "", "status", "--keys", filepath.Join(dir, "none")).want(t, cli.ExitReach, "operator-admin.pem")
	run(t, "", "trace").want(t, cli.ExitUsage, "--rollout")
	run(t, "", "demo", "--hosts", "1").want(t, cli.ExitUsage, "2 to 500")
	run(t, "", "nonsense").want(t, cli.ExitUsage, "nonsense")
}
