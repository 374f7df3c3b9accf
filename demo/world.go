package demo

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nixfleet/keydir"
	"nixfleet/trust"
	"nixfleet/trust/pki"
)

// channel is the one channel of the demo.
const channel = "stable"

// The demo's rhythms. They are short so that a person can watch a whole rollout; everything else is as on real hosts.
const (
	soakSeconds      = 3
	sustainedSeconds = 3
	probeSeconds     = 1
	heartbeatSeconds = 1
)

// machine is one host of the demo: a folder that is its root, its key, and the service that runs on it.
type machine struct {
	name    string
	canary  bool
	root    string
	pubkey  string // OpenSSH line
	service *service
}

func (m *machine) stateDir() string      { return filepath.Join(m.root, "state") }
func (m *machine) currentSystem() string { return filepath.Join(m.root, "current-system") }
func (m *machine) settings() string      { return filepath.Join(m.root, "agent.toml") }
func (m *machine) hostKey() string       { return filepath.Join(m.root, "ssh_host_ed25519_key") }
func (m *machine) certificate() string   { return filepath.Join(m.root, "agent.pem") }
func (m *machine) healthChecks() string  { return filepath.Join(m.root, "health-checks.json") }

// runs returns the closure that the host runs, "" before the first switch.
func (m *machine) runs() (string, error) {
	target, err := os.Readlink(m.currentSystem())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("demo: %s: %w", m.name, err)
	}
	return filepath.Base(target), nil
}

// everHad says whether a release ever reached the host's store.
func (m *machine) everHad(closure string) (bool, error) {
	_, err := os.Lstat(filepath.Join(m.root, "store", closure))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// world is everything the demo puts on the disk:
//
//	keys/            the organisation's keys
//	published/       signed documents, as release writes them
//	releases/        the closures that hosts copy from
//	cp/              the control plane's database
//	hosts/NAME/      one host: state/, store/, current-system, its key, certificate and settings
type world struct {
	dir   string
	hosts []*machine
}

func (w *world) keys() string      { return filepath.Join(w.dir, "keys") }
func (w *world) published() string { return filepath.Join(w.dir, "published") }
func (w *world) releases() string  { return filepath.Join(w.dir, "releases") }
func (w *world) cp() string        { return filepath.Join(w.dir, "cp") }

// newWorld makes keys, folders, hosts and their services below dir. The control plane will be at url.
func newWorld(dir string, hosts int, url string, now time.Time) (*world, error) {
	w := &world{dir: dir}
	for _, d := range []string{w.published(), w.releases(), w.cp()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	if _, err := keydir.Create(w.keys(), "demo", nil, now); err != nil {
		return nil, err
	}
	canaries := max(1, hosts/10)
	if hosts >= 4 {
		canaries = max(2, canaries)
	}
	for i := range hosts {
		m := &machine{name: fmt.Sprintf("web-%02d", i+1), canary: i < canaries}
		m.root = filepath.Join(dir, "hosts", m.name)
		if err := w.install(m, url, now); err != nil {
			return nil, errors.Join(fmt.Errorf("demo: host %s: %w", m.name, err), w.stopServices())
		}
		w.hosts = append(w.hosts, m)
	}
	return w, nil
}

// install does for a host what an operator does once: key, certificate, probes, settings, and its service.
func (w *world) install(m *machine, url string, now time.Time) error {
	if err := os.MkdirAll(m.stateDir(), 0o700); err != nil {
		return err
	}
	key, err := trust.GenerateHostKey()
	if err != nil {
		return err
	}
	text, err := trust.MarshalHostKey(key, m.name)
	if err != nil {
		return err
	}
	if err := pki.WritePrivate(m.hostKey(), text); err != nil {
		return err
	}
	if m.pubkey, err = trust.MarshalHostPubkey(key.Public().(ed25519.PublicKey)); err != nil {
		return err
	}
	csr, err := pki.NewCSR(key, m.name)
	if err != nil {
		return err
	}
	cert, _, err := keydir.IssueAgent(w.keys(), csr, now)
	if err != nil {
		return err
	}
	if err := pki.WritePublic(m.certificate(), cert); err != nil {
		return err
	}
	if m.service, err = startService(m.currentSystem()); err != nil {
		return err
	}
	if err := w.writeHealthChecks(m); err != nil {
		return err
	}
	return w.writeSettings(m, url)
}

func (w *world) writeHealthChecks(m *machine) error {
	checks, err := json.MarshalIndent(map[string]any{
		"service": map[string]any{
			"kind": "http", "mode": "enforce", "url": m.service.url, "bodyContains": "hello", "intervalSeconds": probeSeconds,
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	return pki.WritePublic(m.healthChecks(), checks)
}

// writeSettings writes the agent's configuration file, the same that a real host has.
func (w *world) writeSettings(m *machine, url string) error {
	var b strings.Builder
	for _, kv := range [][2]string{
		{"controlPlaneURL", url},
		{"machineID", m.name},
		{"stateDir", m.stateDir()},
		{"trustFile", filepath.Join(w.keys(), keydir.TrustFile)},
		{"healthChecksFile", m.healthChecks()},
		{"caCert", filepath.Join(w.keys(), keydir.ServerCA+".pem")},
		{"clientCert", m.certificate()},
		{"sshHostKeyFile", m.hostKey()},
		{"backend", "directory"},
		{"directoryRoot", m.root},
		{"releasesDir", w.releases()},
	} {
		fmt.Fprintf(&b, "%s = %q\n", kv[0], kv[1])
	}
	fmt.Fprintf(&b, "\n[intervals]\nlongPollSeconds = 20\nheartbeatSeconds = %d\nadvanceSeconds = 0.5\noutboundSeconds = 2\nprobeMinSeconds = %d\n",
		heartbeatSeconds, probeSeconds)
	return pki.WritePublic(m.settings(), []byte(b.String()))
}

// stopServices ends the hosts' services.
func (w *world) stopServices() error {
	var problems []error
	for _, m := range w.hosts {
		problems = append(problems, m.service.stop())
	}
	return errors.Join(problems...)
}

// fleetDocument writes the fleet that runs the release: everyone at once, or canaries first.
func (w *world) fleetDocument(r version, canariesFirst bool) ([]byte, error) {
	hosts := map[string]any{}
	for _, m := range w.hosts {
		tags := []string{"web"}
		if m.canary {
			tags = append(tags, "canary")
		}
		hosts[m.name] = map[string]any{
			"system": "x86_64-linux", "tags": tags, "channel": channel, "closureHash": r.closure, "pubkey": m.pubkey,
		}
	}
	waves := []any{map[string]any{"selector": map[string]any{"all": true}, "soakMinutes": 0, "soakSeconds": soakSeconds}}
	if canariesFirst {
		canary := map[string]any{"selector": map[string]any{"tags": []string{"canary"}}, "soakMinutes": 0, "soakSeconds": soakSeconds}
		waves = append([]any{canary}, waves...)
	}
	return json.MarshalIndent(map[string]any{
		"schemaVersion": 1,
		"hosts":         hosts,
		"channels": map[string]any{channel: map[string]any{
			"rolloutPolicy": "careful", "reconcileIntervalMinutes": 30, "freshnessWindow": 60, "signingIntervalMinutes": 30,
		}},
		"rolloutPolicies": map[string]any{"careful": map[string]any{
			"strategy": "waves", "waves": waves, "onHealthFailure": "rollback-and-halt",
			"sustainedFailureSeconds": sustainedSeconds, "activationTimeoutSeconds": 60,
		}},
		"meta": map[string]any{"schemaVersion": 1, "ciCommit": r.ref},
	}, "", "  ")
}
