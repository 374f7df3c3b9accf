package probe

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/host"
)

func TestDeclarationsHaveTheDefaultsOfTheirKind(t *testing.T) {
	d := Parse([]byte(`{
		"web": {"kind": "http", "mode": "observe", "url": "https://localhost/health"},
		"port": {"kind": "tcp", "mode": "enforce", "host": "localhost", "port": 22, "intervalSeconds": 5},
		"disk": {"kind": "exec", "mode": "disabled", "command": ["true", ""], "runOnce": true, "timeoutSecs": 3},
		"bare": {"kind": "exec", "command": ["true"]}
	}`), DefaultFloor)
	if d.Defects() != nil || len(d.Probes) != 4 {
		t.Fatalf("got %+v", d)
	}
	for i, want := range []Declared{
		{Name: "bare", Kind: "exec", Mode: host.Enforce, Interval: 30 * time.Second, Timeout: 10 * time.Second},
		{Name: "disk", Kind: "exec", Mode: host.Disabled, Interval: 30 * time.Second, Timeout: 3 * time.Second, RunOnce: true},
		{Name: "port", Kind: "tcp", Mode: host.Enforce, Interval: 5 * time.Second, Timeout: 5 * time.Second},
		{Name: "web", Kind: "http", Mode: host.Observe, Interval: 30 * time.Second, Timeout: 10 * time.Second},
	} {
		got := d.Probes[i]
		got.Check = nil
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if c := d.Probes[3].Check.(*httpCheck); c.status != 200 || c.contains != "" {
		t.Errorf("http: %+v", c)
	}
	if c := d.Probes[2].Check.(*tcpCheck); c.address != "localhost:22" {
		t.Errorf("tcp: %+v", c)
	}
}

func TestADefectBecomesAnEnforceProbeThatFailsWithTheReason(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{"kind": "ping"}`, `kind: "ping" is unknown, want one of exec, http, tcp`},
		{`{}`, `kind: missing, want a string`},
		{`7`, `want an object, got a number`},
		{`{"kind": "tcp", "host": "h", "port": 1, "mode": "strict"}`, `mode: "strict" is unknown, want one of enforce, observe, disabled`},
		{`{"kind": "tcp", "host": "h", "port": 1, "mode": 1}`, `mode: want a string, got a number`},
		{`{"kind": "tcp", "host": "h", "port": 0}`, `port: 0, want 1 to 65535`},
		{`{"kind": "tcp", "host": "h", "port": 65536}`, `port: 65536, want 1 to 65535`},
		{`{"kind": "tcp", "host": "h"}`, `port: missing, want 1 to 65535`},
		{`{"kind": "tcp", "host": "", "port": 1}`, `host: want a name or an address of 1 to 253 bytes`},
		{`{"kind": "tcp", "host": "h", "port": 1, "intervalSeconds": 4}`, `intervalSeconds: 4 s, want 5s to 24h0m0s`},
		{`{"kind": "tcp", "host": "h", "port": 1, "intervalSeconds": 86401}`, `intervalSeconds: 86401 s, want 5s to 24h0m0s`},
		{`{"kind": "tcp", "host": "h", "port": 1, "intervalSeconds": 18446744073709551615}`, `intervalSeconds: 18446744073709551615 s, want 5s to 24h0m0s`},
		{`{"kind": "tcp", "host": "h", "port": 1, "intervalSeconds": 7.5}`, `intervalSeconds: 7.5 is not an integer from 0 to 18446744073709551615`},
		{`{"kind": "tcp", "host": "h", "port": 1, "connectTimeoutSecs": 0}`, `connectTimeoutSecs: 0 s, want 1s to 5m0s`},
		{`{"kind": "tcp", "host": "h", "port": 1, "timeoutSecs": 3}`, `timeoutSecs: unknown field, tcp probes have kind, mode, intervalSeconds, runOnce, host, port, connectTimeoutSecs`},
		{`{"kind": "tcp", "host": "h", "port": 1, "runOnce": "yes"}`, `runOnce: want a boolean, got a string`},
		{`{"kind": "http", "url": "ftp://h/"}`, `url: want an absolute http or https URL of at most 8192 bytes`},
		{`{"kind": "http", "url": "/health"}`, `url: want an absolute http or https URL of at most 8192 bytes`},
		{`{"kind": "http"}`, `url: missing, want a string`},
		{`{"kind": "http", "url": "http://h/", "expectStatus": 99}`, `expectStatus: 99, want 100 to 599`},
		{`{"kind": "http", "url": "http://h/", "bodyContain": "ok"}`, `bodyContain: unknown field, http probes have kind, mode, intervalSeconds, runOnce, url, expectStatus, bodyContains, timeoutSecs`},
		{`{"kind": "exec", "command": "true"}`, `command: want an array, got a string`},
		{`{"kind": "exec", "command": []}`, `command: want 1 to 256 arguments, the program first`},
		{`{"kind": "exec", "command": [""]}`, `command: want 1 to 256 arguments, the program first`},
		{`{"kind": "exec", "command": ["a\u0000b"]}`, `command: an argument has a NUL byte`},
		{`{"kind": "exec", "command": ["true"], "expectExitCode": 256}`, `expectExitCode: 256, want 0 to 255`},
		{`{"kind": "exec", "command": ["true"], "timeoutSecs": 301}`, `timeoutSecs: 301 s, want 1s to 5m0s`},
	} {
		d := Parse([]byte(`{"good": {"kind": "exec", "command": ["true"]}, "bad": `+c.body+`}`), DefaultFloor)
		if len(d.Probes) != 2 || d.Probes[0].Name != BuiltIn || d.Probes[1].Name != "good" {
			t.Errorf("%s: got %+v", c.body, d.Probes)
			continue
		}
		p := d.Probes[0]
		_, err := p.Check.Run(context.Background())
		if want := `probe: declarations: "bad": strictjson: ` + c.want; p.Mode != host.Enforce || reason(err) != want {
			t.Errorf("%s\n got %v\nwant %s", c.body, err, want)
		}
	}
}

func TestAFileThatCannotBeReliedOnFailsAsAWhole(t *testing.T) {
	many := make([]string, MaxProbes)
	for i := range many {
		many[i] = `"p` + strconv.Itoa(i) + `": {"kind": "exec", "command": ["true"]}`
	}
	for _, data := range []string{"", "{", "[]", `null`, `{"a": 1, "a": 2}`, "\xff", "{" + strings.Join(many, ",") + "}"} {
		d := Parse([]byte(data), DefaultFloor)
		if len(d.Probes) != 1 || d.Probes[0].Name != BuiltIn || d.Probes[0].Mode != host.Enforce || d.Defects() == nil {
			t.Errorf("%.40q: got %+v", data, d)
		}
	}
}

func TestNamesThatCannotBeReportedAreDefects(t *testing.T) {
	for _, name := range []string{"", BuiltIn, `a\u0000b`, `a\nb`, strings.Repeat("x", 129)} {
		d := Parse([]byte(`{"`+name+`": {"kind": "exec", "command": ["true"]}}`), DefaultFloor)
		if len(d.Probes) != 1 || d.Defects() == nil {
			t.Errorf("%q: got %+v", name, d)
		}
	}
}

func TestAMissingFileDeclaresNothingAndAnUnreadableOneFails(t *testing.T) {
	dir := t.TempDir()
	if d := Load(filepath.Join(dir, "none.json"), DefaultFloor); d.Probes != nil {
		t.Fatalf("got %+v", d)
	}
	large := filepath.Join(dir, "large.json")
	pipe := filepath.Join(dir, "pipe")
	dangling := filepath.Join(dir, "dangling")
	for _, err := range []error{
		os.WriteFile(large, []byte("{"+strings.Repeat(" ", MaxFile)+"}"), 0o600),
		unix.Mkfifo(pipe, 0o600),
		os.Symlink(filepath.Join(dir, "nowhere"), dangling),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{large, pipe, dangling, dir, filepath.Join(large, "below")} {
		if d := Load(path, DefaultFloor); len(d.Probes) != 1 || d.Defects() == nil {
			t.Errorf("%s: got %+v", path, d)
		}
	}
	good := filepath.Join(dir, "good.json")
	if err := os.WriteFile(good, []byte(`{"a": {"kind": "exec", "command": ["true"], "intervalSeconds": 1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := Load(good, time.Second); len(d.Probes) != 1 || d.Defects() != nil || d.Probes[0].Interval != time.Second {
		t.Errorf("a lower floor: got %+v", d)
	}
}

func FuzzAnyDeclarationsGiveProbesThatCanRun(f *testing.F) {
	f.Add([]byte(`{"web": {"kind": "http", "url": "http://localhost/"}, "x": {"kind": "tcp", "host": "h", "port": 1}}`))
	f.Add([]byte(`{"declarations": {"kind": "exec", "command": ["true"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := Parse(data, DefaultFloor)
		seen := map[string]bool{}
		for _, p := range d.Probes {
			if seen[p.Name] || p.Check == nil || p.Interval < DefaultFloor || p.Timeout <= 0 || p.Name == "" || len(p.Name) > MaxName {
				t.Fatalf("%q gives %+v", data, p)
			}
			seen[p.Name] = true
		}
		if len(d.Probes) > MaxProbes {
			t.Fatalf("%d probes", len(d.Probes))
		}
	})
}
