package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"nixfleet/controlplane"
	"nixfleet/rollout"
)

// Settings are a control plane's configuration and how it logs.
type Settings struct {
	controlplane.Config
	LogLevel  string // debug, info, warn, error
	LogFormat string // text, json
}

// key is one setting: a key of the file, a flag and an environment variable, all three from its words.
type key struct {
	name     string // in the file
	about    string // for the usage text
	allowed  string // what values are, for refusals
	def      string
	optional bool // "" is allowed
	number   bool // in the file a number, not a string
	set      func(s *Settings, value string) bool
}

// maxValue bounds every value: the longest path Linux takes.
const maxValue = 4096

var plan = rollout.DefaultSettings()

// keys are all settings.
var keys = []key{
	{
		name: "listen", about: "where agents and operators connect, over TLS", allowed: "address:port", def: "127.0.0.1:8443",
		set: text(func(s *Settings) *string { return &s.Listen }, isAddress),
	},
	{
		name: "metricsListen", about: "where /healthz, /readyz and /metrics are, off if empty", allowed: "a loopback address with a port", def: "127.0.0.1:9102", optional: true,
		set: text(func(s *Settings) *string { return &s.MetricsListen }, isLoopback),
	},
	path("database", "the SQLite file", "/var/lib/nixfleet-cp/cp.db", func(s *Settings) *string { return &s.Database }),
	path("documentsDir", "the signed documents, as a release publishes them", "/var/lib/nixfleet-cp/documents", func(s *Settings) *string { return &s.DocumentsDir }),
	path("trustFile", "the keys that sign intent", "/etc/nixfleet/trust.json", func(s *Settings) *string { return &s.TrustFile }),
	path("serverCert", "PEM certificate of this control plane", "/etc/nixfleet/cp/server.pem", func(s *Settings) *string { return &s.ServerCert }),
	path("serverKey", "its key, mode 0600", "/etc/nixfleet/cp/server.key", func(s *Settings) *string { return &s.ServerKey }),
	path("agentCACert", "PEM roots of agents' certificates", "/etc/nixfleet/cp/agents-ca.pem", func(s *Settings) *string { return &s.AgentCACert }),
	path("operatorCACert", "PEM roots of operators' certificates", "/etc/nixfleet/cp/operators-ca.pem", func(s *Settings) *string { return &s.OperatorCACert }),
	seconds("documentsPollSeconds", controlplane.DefaultDocumentsPoll, 0.05, 3600, "between looks at the documents", func(s *Settings) *time.Duration { return &s.DocumentsPoll }),
	seconds("planSeconds", controlplane.DefaultPlanInterval, 0.05, 60, "between looks at what time alone changes", func(s *Settings) *time.Duration { return &s.PlanInterval }),
	seconds("heartbeatSeconds", plan.HeartbeatInterval, 0.05, 3600, "how often agents are expected", func(s *Settings) *time.Duration { return &s.Planner.HeartbeatInterval }),
	seconds("offlineAfterSeconds", plan.OfflineAfter, 1, 365*86400, "of silence, after which a host is not waited for", func(s *Settings) *time.Duration { return &s.Planner.OfflineAfter }),
	seconds("emptyStoreWarmUpSeconds", plan.EmptyStoreWarmUp, 0.05, 86400, "of warm-up on an empty or restored store", func(s *Settings) *time.Duration { return &s.Planner.EmptyStoreWarmUp }),
	seconds("retentionSeconds", plan.Retention, 60, 3650*86400, "for which a rollout that is over is kept", func(s *Settings) *time.Duration { return &s.Planner.Retention }),
	oneOf("logLevel", "info", func(s *Settings) *string { return &s.LogLevel }, "debug", "info", "warn", "error"),
	oneOf("logFormat", "text", func(s *Settings) *string { return &s.LogFormat }, "text", "json"),
}

// text is a key whose valid values are told by valid.
func text(field func(*Settings) *string, valid func(string) bool) func(*Settings, string) bool {
	return func(s *Settings, v string) bool {
		*field(s) = v
		return v == "" || len(v) <= maxValue && !strings.ContainsFunc(v, unicode.IsControl) && valid(v)
	}
}

func path(name, about, def string, field func(*Settings) *string) key {
	return key{name: name, about: about, allowed: "an absolute path", def: def, set: text(field, filepath.IsAbs)}
}

func oneOf(name, def string, field func(*Settings) *string, values ...string) key {
	allowed := "one of " + strings.Join(values, ", ")
	return key{name: name, about: allowed, allowed: allowed, def: def, set: text(field, func(v string) bool { return slices.Contains(values, v) })}
}

func seconds(name string, def time.Duration, least, most float64, about string, field func(*Settings) *time.Duration) key {
	return key{
		name: name, about: about, def: strconv.FormatFloat(def.Seconds(), 'g', -1, 64), number: true,
		allowed: fmt.Sprintf("a number of seconds from %g to %.0f", least, most),
		set: func(s *Settings, v string) bool {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || !(n >= least && n <= most) { // written so that NaN is refused
				return false
			}
			*field(s) = time.Duration(n * float64(time.Second))
			return true
		},
	}
}

func isAddress(v string) bool {
	_, port, err := net.SplitHostPort(v)
	_, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil
}

func isLoopback(v string) bool {
	addr, _, err := net.SplitHostPort(v)
	ip, ipErr := netip.ParseAddr(addr)
	return err == nil && ipErr == nil && ip.IsLoopback() && isAddress(v)
}

// words splits a name where a capital follows a small letter: agentCACert is agent CACert.
func words(name string) []string {
	var b strings.Builder
	small := false
	for _, r := range name {
		if small && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		small = unicode.IsLower(r)
	}
	return strings.Fields(b.String())
}

// flag is the key's flag, without dashes: agent-cacert.
func (k key) flag() string { return strings.ToLower(strings.Join(words(k.name), "-")) }

// variable is the key's environment variable: NIXFLEET_CP_AGENT_CACERT.
func (k key) variable() string {
	return environmentPrefix + strings.ToUpper(strings.Join(words(k.name), "_"))
}
