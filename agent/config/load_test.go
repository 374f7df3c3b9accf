package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const enough = `
controlPlaneURL = "https://cp.example:8443/"
machineID = "web-1"
caCert = "/ca.pem"
clientCert = "/client.pem"
backend = "directory"
directoryRoot = "/srv/host"
`

// shown is what an operator reads of a refusal.
func shown(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileWithWhatIsNeededGetsTheDefaultsForTheRest(t *testing.T) {
	got, err := Load([]string{"--config", write(t, enough)}, nil)
	want := Config{
		ControlPlaneURL: "https://cp.example:8443", MachineID: "web-1", StateDir: "/var/lib/nixfleet-agent",
		TrustFile: "/etc/nixfleet/agent/trust.json", HealthChecksFile: "/etc/nixfleet/agent/health-checks.json",
		CACert: "/ca.pem", ClientCert: "/client.pem", SSHHostKeyFile: "/etc/ssh/ssh_host_ed25519_key",
		Backend: "directory", CurrentSystemPath: "/srv/host/current-system", DirectoryRoot: "/srv/host",
		Intervals: DefaultIntervals, LogLevel: "info", LogFormat: "text",
	}
	if err != nil || got != want {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestAFlagBeatsTheEnvironmentWhichBeatsTheFileWhichBeatsTheDefault(t *testing.T) {
	file := write(t, enough+"logLevel = \"debug\"\n[intervals]\nheartbeatSeconds = 10\nadvanceSeconds = 0.5\n")
	args := []string{"--config", file, "-log-level=error", "--intervals-heartbeat-seconds", "30"}
	env := []string{"NIXFLEET_AGENT_LOG_LEVEL=warn", "NIXFLEET_AGENT_INTERVALS_HEARTBEAT_SECONDS=20", "NIXFLEET_AGENT_MACHINE_ID=web-2", "OTHER=1"}
	for _, c := range []struct {
		args, env        []string
		level, id        string
		heartbeat        time.Duration
		advance, longest time.Duration
	}{
		{args[:2], nil, "debug", "web-1", 10 * time.Second, 500 * time.Millisecond, time.Minute},
		{args[:2], env, "warn", "web-2", 20 * time.Second, 500 * time.Millisecond, time.Minute},
		{args, env, "error", "web-2", 30 * time.Second, 500 * time.Millisecond, time.Minute},
		{args[2:], append(env, "NIXFLEET_AGENT_CONFIG="+file), "error", "web-2", 30 * time.Second, 500 * time.Millisecond, time.Minute},
	} {
		got, err := Load(c.args, c.env)
		if err != nil || got.LogLevel != c.level || got.MachineID != c.id || got.Intervals.Heartbeat != c.heartbeat ||
			got.Intervals.Advance != c.advance || got.Intervals.LongPoll != c.longest {
			t.Errorf("%v %v: got %+v, %v", c.args, c.env, got, err)
		}
	}
}

func TestEveryKeyIsAFlagAVariableAndAKeyOfTheFile(t *testing.T) {
	samples := map[string]string{
		"controlPlaneURL": "https://other", "machineID": "other", "backend": "directory", "maxSignatureAge": "3h",
		"metricsListen": "[::1]:9101", "logLevel": "warn", "logFormat": "json",
	}
	base := write(t, enough)
	for _, k := range keys {
		v := samples[k.name]
		if v == "" {
			v = "/other/path"
		}
		line := fmt.Sprintf("%s = %q\n", k.name, v)
		if k.number {
			v = "7"
			line = k.name + " = 7\n"
		}
		without := ""
		for l := range strings.Lines(enough) {
			if !strings.HasPrefix(l, k.name+" ") {
				without += l
			}
		}
		byFlag, flagErr := Load([]string{"--config", base, "--" + k.flag(), v}, nil)
		byEnv, envErr := Load([]string{"--config", base}, []string{k.variable() + "=" + v})
		byFile, fileErr := Load([]string{"--config", write(t, line+without)}, nil)
		if err := errors.Join(flagErr, envErr, fileErr); err != nil || byFlag != byEnv || byEnv != byFile {
			t.Errorf("%s: %v\n%+v\n%+v\n%+v", k.name, err, byFlag, byEnv, byFile)
		}
		if !strings.Contains(Usage(), "--"+k.flag()+" ("+k.variable()+", "+k.name+")") {
			t.Errorf("%s is not in the usage text", k.name)
		}
	}
}

func TestWhatIsNotUnderstoodIsRefusedWithKeyValueAndWhatIsAllowed(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`machinID = "x"`, `config: machinID: "x" from FILE refused, want a known key: controlPlaneURL, machineID, stateDir, trustFile, healthChecksFile, caCert, clientCert, sshHostKeyFile, bootstrapTokenFile, backend, currentSystemPath, directoryRoot, releasesDir, maxSignatureAge, intervals.longPollSeconds, intervals.heartbeatSeconds, intervals.advanceSeconds, intervals.outboundSeconds, intervals.manifestPollSeconds, intervals.probeMinSeconds, metricsListen, logLevel, logFormat`},
		{`logLevel = "loud"`, `config: logLevel: "loud" from FILE refused, want one of debug, info, warn, error`},
		{`logLevel = 3`, `config: logLevel: "3" from FILE refused, want a string: one of debug, info, warn, error`},
		{`logFormat = "xml"`, `config: logFormat: "xml" from FILE refused, want one of text, json`},
		{`stateDir = "state"`, `config: stateDir: "state" from FILE refused, want an absolute path`},
		{`stateDir = ""`, `config: stateDir: "" from FILE refused, want an absolute path (key stateDir in the file, --state-dir or NIXFLEET_AGENT_STATE_DIR)`},
		{`stateDir = ["/x"]`, `config: stateDir: "[/x]" from FILE refused, want a string: an absolute path`},
		{`maxSignatureAge = "10s"`, `config: maxSignatureAge: "10s" from FILE refused, want a duration from "1m" to "87600h", such as "48h"`},
		{`maxSignatureAge = 60`, `config: maxSignatureAge: "60" from FILE refused, want a string: a duration from "1m" to "87600h", such as "48h"`},
		{`metricsListen = "0.0.0.0:9101"`, `config: metricsListen: "0.0.0.0:9101" from FILE refused, want a loopback address with a port, such as 127.0.0.1:9101`},
		{`metricsListen = "127.0.0.1"`, `config: metricsListen: "127.0.0.1" from FILE refused, want a loopback address with a port, such as 127.0.0.1:9101`},
		{`metricsListen = "127.0.0.1:99999"`, `config: metricsListen: "127.0.0.1:99999" from FILE refused, want a loopback address with a port, such as 127.0.0.1:9101`},
		{`intervals.heartbeatSeconds = 0`, `config: intervals.heartbeatSeconds: "0" from FILE refused, want a number of seconds from 0.05 to 3600`},
		{`intervals.heartbeatSeconds = nan`, `config: intervals.heartbeatSeconds: "NaN" from FILE refused, want a number of seconds from 0.05 to 3600`},
		{`intervals.heartbeatSeconds = "60"`, `config: intervals.heartbeatSeconds: "60" from FILE refused, want a number: a number of seconds from 0.05 to 3600`},
		{`intervals.longPollSeconds = 61`, `config: intervals.longPollSeconds: "61" from FILE refused, want a number of seconds from 0.05 to 60`},
		{`intervals.probeMinSeconds = 0.5`, `config: intervals.probeMinSeconds: "0.5" from FILE refused, want a number of seconds from 1 to 3600`},
	} {
		file := write(t, enough+c.line)
		_, err := Load([]string{"--config", file}, nil)
		if want := strings.ReplaceAll(c.want, "FILE", file); !errors.Is(err, ErrConfig) || shown(err) != want {
			t.Errorf("%s\n got %v\nwant %s", c.line, err, want)
		}
	}
}

func TestAddressesThatAreNoHTTPSAddressAreRefused(t *testing.T) {
	file := write(t, enough)
	for _, v := range []string{"http://cp", "cp.example", "https://", "https://cp/path", "https://u:p@cp", "https://cp?x", "https://cp#x", "https:cp", "https://cp\n"} {
		_, err := Load([]string{"--config", file, "--control-plane-url", v}, nil)
		want := fmt.Sprintf("config: controlPlaneURL: %q from --control-plane-url refused, want https://host or https://host:port, nothing else", v)
		if shown(err) != want {
			t.Errorf("%q: %v", v, err)
		}
	}
	for _, v := range []string{"../x", "a b", "-x", strings.Repeat("a", 254), "a/b"} {
		if _, err := Load([]string{"--config", file, "--machine-id", v}, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("%q is taken for a host name", v)
		}
	}
}

func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := Load([]string{"--config", write(t, "logLevel = \"loud\"\nnonsense = 1\n")}, []string{"NIXFLEET_AGENT_LOG_FORMAT=xml"})
	for _, want := range []string{
		`config: logLevel: "loud"`, `config: nonsense: "1"`, `config: logFormat: "xml" from NIXFLEET_AGENT_LOG_FORMAT refused`,
		"config: machineID: missing, want a host name: letters, digits, . _ -, at most 253 bytes (key machineID in the file, --machine-id or NIXFLEET_AGENT_MACHINE_ID)",
	} {
		if !strings.Contains(shown(err), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}

func TestWordsThatNobodyKnowsAreRefused(t *testing.T) {
	file := write(t, enough)
	for name, load := range map[string]func() (Config, error){
		"flag":     func() (Config, error) { return Load([]string{"--config", file, "--no-such-flag"}, nil) },
		"argument": func() (Config, error) { return Load([]string{"--config", file, "run"}, nil) },
		"variable": func() (Config, error) {
			return Load([]string{"--config", file}, []string{"NIXFLEET_AGENT_STATEDIR=/x"})
		},
		"file":         func() (Config, error) { return Load([]string{"--config", file + ".none"}, nil) },
		"syntax":       func() (Config, error) { return Load([]string{"--config", write(t, "machineID = ")}, nil) },
		"twice":        func() (Config, error) { return Load([]string{"--config", write(t, enough+"machineID = \"b\"")}, nil) },
		"other table":  func() (Config, error) { return Load([]string{"--config", write(t, enough+"[log]\nlevel = 1")}, nil) },
		"table as key": func() (Config, error) { return Load([]string{"--config", write(t, enough+"intervals = 3")}, nil) },
		"long file": func() (Config, error) {
			return Load([]string{"--config", write(t, strings.Repeat("#", maxFile+1))}, nil)
		},
		"directory": func() (Config, error) { return Load([]string{"--config", filepath.Dir(file)}, nil) },
	} {
		if c, err := load(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
	if _, err := Load([]string{"--help"}, nil); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestFlagsAloneAreEnough(t *testing.T) {
	if _, err := os.Stat(DefaultFile); err == nil {
		t.Skip("this machine has a " + DefaultFile)
	}
	c, err := Load([]string{
		"--control-plane-url", "https://cp", "--machine-id", "h", "--ca-cert", "/ca", "--client-cert", "/c",
		"--backend", "directory", "--directory-root", "/r", "--current-system-path", "/run/here",
	}, nil)
	if err != nil || c.CurrentSystemPath != "/run/here" {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestFilesThatAreNeededAreRequiredAtStart(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	c := Config{TrustFile: at("trust"), CACert: at("ca"), ClientCert: at("client"), SSHHostKeyFile: at("key"), HealthChecksFile: at("checks")}
	err := c.RequireFiles()
	for _, key := range []string{"trustFile", "caCert", "clientCert", "sshHostKeyFile"} {
		if !strings.Contains(shown(err), "config: refused: "+key+": \""+dir) || !errors.Is(err, ErrConfig) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is not missed: %v", key, err)
		}
	}
	for _, name := range []string{"trust", "ca", "key"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.BootstrapTokenFile = at("token")
	if err := c.RequireFiles(); !strings.Contains(shown(err), "bootstrapTokenFile") {
		t.Errorf("neither certificate nor token: %v", err)
	}
	if err := os.WriteFile(at("client"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.RequireFiles(); err != nil {
		t.Errorf("a token that was used may be gone: %v", err)
	}
}

func FuzzAnyFileGivesAConfigOrRefusals(f *testing.F) {
	f.Add(enough)
	f.Add("[intervals]\nheartbeatSeconds = 1e9")
	f.Fuzz(func(t *testing.T, content string) {
		_, err := Load([]string{"--config", write(t, content)}, nil)
		if err != nil && !errors.Is(err, ErrConfig) {
			t.Fatal(err)
		}
	})
}
