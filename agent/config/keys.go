package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// key is one setting: a key of the file, a flag and an environment variable, all three from name.
type key struct {
	name    string // in the file; a dot separates table and key
	about   string // for the usage text
	allowed string // what values are, for refusals
	def     string // "" if there is none
	needed  bool   // "" is refused
	number  bool   // in the file a number, not a string
	set     func(c *Config, value string) bool
}

// maxValue bounds every value: the longest path Linux takes.
const maxValue = 4096

// keys are all settings, in the order of docs/design/04-agent.md, 4.5.
var keys = []key{
	{
		name: "controlPlaneURL", about: "the control plane", allowed: "https://host or https://host:port, nothing else", needed: true,
		set: text(func(c *Config) *string { return &c.ControlPlaneURL }, isBaseURL),
	},
	{
		name: "machineID", about: "this host's name, the CN of its certificate", allowed: "a host name: letters, digits, . _ -, at most 253 bytes", needed: true,
		set: text(func(c *Config) *string { return &c.MachineID }, machineID.MatchString),
	},
	path("stateDir", "what must survive a restart", "/var/lib/nixfleet-agent", true, func(c *Config) *string { return &c.StateDir }),
	path("trustFile", "the keys that sign intent", "/etc/nixfleet/agent/trust.json", true, func(c *Config) *string { return &c.TrustFile }),
	path("healthChecksFile", "the probes; no file means no probes", "/etc/nixfleet/agent/health-checks.json", true, func(c *Config) *string { return &c.HealthChecksFile }),
	path("caCert", "PEM roots of the control plane's certificate", "", true, func(c *Config) *string { return &c.CACert }),
	path("clientCert", "PEM certificate of this host", "", true, func(c *Config) *string { return &c.ClientCert }),
	path("sshHostKeyFile", "the host's Ed25519 key, which signs its events and is its TLS key", "/etc/ssh/ssh_host_ed25519_key", true, func(c *Config) *string { return &c.SSHHostKeyFile }),
	path("bootstrapTokenFile", "the token for enrolment, if the host has no certificate yet", "", false, func(c *Config) *string { return &c.BootstrapTokenFile }),
	{
		name: "backend", about: "how closures are held and switched to", allowed: "one of " + strings.Join(Backends, ", "), needed: true,
		set: text(func(c *Config) *string { return &c.Backend }, func(v string) bool { return slices.Contains(Backends, v) }),
	},
	path("currentSystemPath", "the symlink that says what the host runs; directory backend: directoryRoot/current-system if not given", "", false, func(c *Config) *string { return &c.CurrentSystemPath }),
	path("directoryRoot", "directory backend: where store, profile and pins are", "", false, func(c *Config) *string { return &c.DirectoryRoot }),
	path("releasesDir", "directory backend: where releases are copied from", "", false, func(c *Config) *string { return &c.ReleasesDir }),
	{
		name: "maxSignatureAge", about: "caps the freshness that a ticket gives itself", allowed: `a duration from "1m" to "87600h", such as "48h"`,
		set: func(c *Config, v string) bool {
			if v == "" {
				c.MaxSignatureAge = 0
				return true
			}
			d, err := time.ParseDuration(v)
			c.MaxSignatureAge = d
			return err == nil && d >= time.Minute && d <= 87600*time.Hour
		},
	},
	interval("longPoll", "60", 0.05, 60, "how long a poll for a dispatch waits", func(c *Config) *time.Duration { return &c.Intervals.LongPoll }),
	interval("heartbeat", "60", 0.05, 3600, "between heartbeats", func(c *Config) *time.Duration { return &c.Intervals.Heartbeat }),
	interval("advance", "5", 0.05, 60, "between looks at soaks and failures", func(c *Config) *time.Duration { return &c.Intervals.Advance }),
	interval("outbound", "15", 0.05, 3600, "between tries to send what is queued", func(c *Config) *time.Duration { return &c.Intervals.Outbound }),
	interval("manifestPoll", "30", 0.05, 3600, "between looks at the signed documents", func(c *Config) *time.Duration { return &c.Intervals.ManifestPoll }),
	interval("probeMin", "5", 1, 3600, "the shortest interval a probe may declare", func(c *Config) *time.Duration { return &c.Intervals.ProbeMin }),
	{
		name: "metricsListen", about: "where /metrics, /healthz and /readyz are, off if not given", allowed: "a loopback address with a port, such as 127.0.0.1:9101",
		set: text(func(c *Config) *string { return &c.MetricsListen }, isLoopback),
	},
	oneOf("logLevel", "info", func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error"),
	oneOf("logFormat", "text", func(c *Config) *string { return &c.LogFormat }, "text", "json"),
}

// text is a key whose valid values, beside "", are told by valid.
func text(field func(*Config) *string, valid func(string) bool) func(*Config, string) bool {
	return func(c *Config, v string) bool {
		*field(c) = v
		return v == "" || len(v) <= maxValue && !strings.ContainsFunc(v, unicode.IsControl) && valid(v)
	}
}

func path(name, about, def string, needed bool, field func(*Config) *string) key {
	return key{name: name, about: about, allowed: "an absolute path", def: def, needed: needed, set: text(field, filepath.IsAbs)}
}

func oneOf(name, def string, field func(*Config) *string, values ...string) key {
	allowed := "one of " + strings.Join(values, ", ")
	return key{
		name: name, about: allowed, allowed: allowed, def: def, needed: true,
		set: text(field, func(v string) bool { return slices.Contains(values, v) }),
	}
}

func interval(name, def string, least, most float64, about string, field func(*Config) *time.Duration) key {
	return key{
		name: "intervals." + name + "Seconds", about: about, def: def, needed: true, number: true,
		allowed: fmt.Sprintf("a number of seconds from %g to %g", least, most),
		set: func(c *Config, v string) bool {
			seconds, err := strconv.ParseFloat(v, 64)
			if err != nil || !(seconds >= least && seconds <= most) { // written so that NaN is refused
				return false
			}
			*field(c) = time.Duration(seconds * float64(time.Second))
			return true
		},
	}
}

var machineID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

func isBaseURL(v string) bool {
	u, err := url.Parse(v)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && (u.Path == "" || u.Path == "/") && u.User == nil &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.Opaque == ""
}

func isLoopback(v string) bool {
	addr, port, err := net.SplitHostPort(v)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(addr)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && ip.IsLoopback() && portErr == nil && n > 0
}

// words splits a name where a capital follows a small letter, and at dots: controlPlaneURL is control Plane URL.
func words(name string) []string {
	var b strings.Builder
	small := false
	for _, r := range name {
		if r == '.' || small && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		if r != '.' {
			b.WriteRune(r)
		}
		small = unicode.IsLower(r)
	}
	return strings.Fields(b.String())
}

// flag is the key's flag, without dashes: control-plane-url.
func (k key) flag() string { return strings.ToLower(strings.Join(words(k.name), "-")) }

// variable is the key's environment variable: NIXFLEET_AGENT_CONTROL_PLANE_URL.
func (k key) variable() string {
	return environmentPrefix + strings.ToUpper(strings.Join(words(k.name), "_"))
}

func find(match func(key) bool) (key, bool) {
	i := slices.IndexFunc(keys, match)
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

func names(of func(key) string) string {
	var all []string
	for _, k := range keys {
		all = append(all, of(k))
	}
	return strings.Join(all, ", ")
}
