package fleettest

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nixfleet/agent"
	"nixfleet/agent/activation"
	"nixfleet/agent/config"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/keydir"
	"nixfleet/trust"
	"nixfleet/trust/pki"
)

// Host is one host: a folder that is its root, its key and certificate, a service, and an agent that may run.
type Host struct {
	Name string
	Root string

	t       testing.TB
	s       *Site
	pubkey  string
	service *httptest.Server
	agent   *part
	pid     int // of an agent that is a process
	log     Log

	mu    sync.Mutex
	moves []host.RecordTransition
}

// StateDir is all that the agent keeps.
func (h *Host) StateDir() string { return filepath.Join(h.Root, "state") }

func (h *Host) currentSystem() string { return filepath.Join(h.Root, "current-system") }
func (h *Host) settings() string      { return filepath.Join(h.Root, "agent.toml") }
func (h *Host) hostKey() string       { return filepath.Join(h.Root, "ssh_host_ed25519_key") }
func (h *Host) certificate() string   { return filepath.Join(h.Root, "agent.pem") }

// TrustFile is the host's own copy of the keys that sign intent.
func (h *Host) TrustFile() string { return filepath.Join(h.Root, keydir.TrustFile) }

// Log is the agent's, over all of its lives.
func (h *Host) Log() *Log { return &h.log }

// install does what an operator does once for a host.
func (s *Site) install(name string) *Host {
	s.T.Helper()
	h := s.folder(name, name)
	key, err := trust.GenerateHostKey()
	s.must(err)
	text, err := trust.MarshalHostKey(key, name)
	s.must(err)
	s.must(pki.WritePrivate(h.hostKey(), text))
	h.pubkey, err = trust.MarshalHostPubkey(key.Public().(ed25519.PublicKey))
	s.must(err)
	csr, err := pki.NewCSR(key, name)
	s.must(err)
	cert, _, err := keydir.IssueAgent(s.Keys(), csr, s.machine.Now().Wall)
	s.must(err)
	s.must(pki.WritePublic(h.certificate(), cert))
	return h
}

// folder makes a host's root with everything in it but its identity.
func (s *Site) folder(name, dir string) *Host {
	s.T.Helper()
	h := &Host{Name: name, Root: filepath.Join(s.Dir, "hosts", dir), t: s.T, s: s}
	s.must(os.MkdirAll(h.StateDir(), 0o700))
	roots, err := os.ReadFile(filepath.Join(s.Keys(), keydir.TrustFile))
	s.must(err)
	s.must(pki.WritePublic(h.TrustFile(), roots))
	h.service = httptest.NewServer(http.HandlerFunc(h.serve))
	checks, err := json.Marshal(map[string]any{"service": map[string]any{
		"kind": "http", "mode": "enforce", "url": h.service.URL, "bodyContains": healthy, "intervalSeconds": 1,
	}})
	s.must(err)
	s.must(pki.WritePublic(filepath.Join(h.Root, "health-checks.json"), checks))
	h.writeSettings()
	return h
}

// healthy is what the service of a good release answers.
const healthy = "healthy"

// serve is the host's service: it does what the release that the host runs makes it do.
func (h *Host) serve(w http.ResponseWriter, _ *http.Request) {
	text, err := os.ReadFile(filepath.Join(h.currentSystem(), "etc", "service"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if _, err := w.Write(text); err != nil {
		return // the one who asked has gone
	}
}

func (h *Host) writeSettings() {
	h.t.Helper()
	var b strings.Builder
	for _, kv := range [][2]string{
		{"controlPlaneURL", h.s.URL},
		{"machineID", h.Name},
		{"stateDir", h.StateDir()},
		{"trustFile", h.TrustFile()},
		{"healthChecksFile", filepath.Join(h.Root, "health-checks.json")},
		{"caCert", filepath.Join(h.s.Keys(), keydir.ServerCA+".pem")},
		{"clientCert", h.certificate()},
		{"sshHostKeyFile", h.hostKey()},
		{"backend", "directory"},
		{"directoryRoot", h.Root},
		{"releasesDir", h.s.releases()},
	} {
		fmt.Fprintf(&b, "%s = %q\n", kv[0], kv[1])
	}
	fmt.Fprintf(&b, "\n[intervals]\nlongPollSeconds = 5\nheartbeatSeconds = %g\nadvanceSeconds = 0.1\noutboundSeconds = 1\nprobeMinSeconds = 1\n",
		heartbeat.Seconds())
	h.s.must(pki.WritePublic(h.settings(), []byte(b.String())))
}

// Start starts the agent as a part of the test program.
func (h *Host) Start() {
	h.t.Helper()
	if h.agent != nil {
		h.t.Fatalf("the agent of %s runs", h.Name)
	}
	log := slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := openAgent(h.settings(), h.s.Clock, log, h.moved)
	h.s.must(err)
	h.agent = start(a.Run)
}

// Stop ends the agent in good order; one that does not run stays so.
func (h *Host) Stop() {
	h.t.Helper()
	if h.agent == nil {
		return
	}
	if err := h.agent.stop(); err != nil {
		h.t.Errorf("agent of %s: %v", h.Name, err)
	}
	h.agent = nil
}

func (h *Host) close() {
	h.Stop()
	h.service.Close()
	if h.t.Failed() {
		h.t.Logf("agent of %s in %s:\n%s", h.Name, h.Root, h.log.Tail())
	}
}

func (h *Host) moved(m host.RecordTransition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moves = append(h.moves, m)
}

// States lists the states the host went through in a rollout, in every life of its agent, as "Activating Soaking".
func (h *Host) States(rolloutID string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var states []string
	for _, m := range h.moves {
		if m.RolloutID == rolloutID {
			states = append(states, m.To.String())
		}
	}
	return strings.Join(states, " ")
}

// Runs is the closure that the host runs, "" before its first switch.
func (h *Host) Runs() string {
	h.t.Helper()
	target, err := os.Readlink(h.currentSystem())
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	h.s.must(err)
	return filepath.Base(target)
}

// Had says whether the closure ever came to the host.
func (h *Host) Had(closure string) bool {
	h.t.Helper()
	_, err := os.Lstat(filepath.Join(h.Root, "store", closure))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	h.s.must(err)
	return true
}

// openAgent makes an agent from its settings, as the program does, with this program as its switch helper.
func openAgent(settings string, clk clock.Clock, log *slog.Logger, moved func(host.RecordTransition)) (*agent.Agent, error) {
	cfg, err := config.Load([]string{"--config", settings}, nil)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("fleettest: %w", err)
	}
	backend, err := activation.OpenDirectory(activation.DirectoryConfig{
		Root: cfg.DirectoryRoot, CurrentSystem: cfg.CurrentSystemPath, Releases: cfg.ReleasesDir, Helper: []string{self, roleSwitch},
	}, clk)
	if err != nil {
		return nil, err
	}
	return agent.New(cfg, agent.Deps{Clock: clk, Backend: backend, Logger: log, OnTransition: moved})
}
