package controlplane_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nixfleet/clock"
	"nixfleet/controlplane"
	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
	"nixfleet/host"
	"nixfleet/keydir"
	"nixfleet/release"
	"nixfleet/rollout"
	"nixfleet/trust"
	"nixfleet/trust/pki"
	"nixfleet/wire"
)

// site is everything a control plane needs, on disk, and the machines that talk to it.
type site struct {
	t        testing.TB
	dir      string
	machines map[string]*machine
	cp       *controlplane.ControlPlane
	stop     func() error
	log      syncBuffer
	deps     controlplane.Deps
	planner  rollout.Settings
	bubble   bool // the network is a pipe, and waits are free
}

// machine is one host's key and certificate, and an agent without opinions.
type machine struct {
	s      *site
	name   string
	key    ed25519.PrivateKey
	pubkey string
	client *http.Client
	epoch  string
	seqs   map[string]uint64
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newSite makes keys and machines; nothing is published and nothing runs yet. Warm-up is over at once.
func newSite(t testing.TB, names ...string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), machines: map[string]*machine{}, planner: rollout.DefaultSettings()}
	s.planner.EmptyStoreWarmUp = time.Nanosecond
	must(t, ignore(keydir.Create(s.keys(), "admin", nil, time.Now())))
	for _, name := range names {
		s.enroll(name)
	}
	t.Cleanup(func() {
		if s.stop != nil {
			must(t, s.shutdown())
			s.rebuilt()
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

func (s *site) keys() string      { return filepath.Join(s.dir, "keys") }
func (s *site) published() string { return filepath.Join(s.dir, "published") }
func (s *site) database() string  { return filepath.Join(s.dir, "cp", "cp.db") }

func (s *site) enroll(name string) {
	s.t.Helper()
	key, err := trust.GenerateHostKey()
	must(s.t, err)
	csr, err := pki.NewCSR(key, name)
	must(s.t, err)
	certPEM, _, err := keydir.IssueAgent(s.keys(), csr, time.Now())
	must(s.t, err)
	cert, err := pki.AgentCertificate(certPEM, key)
	must(s.t, err)
	pubkey, err := trust.MarshalHostPubkey(key.Public().(ed25519.PublicKey))
	must(s.t, err)
	s.machines[name] = &machine{s: s, name: name, key: key, pubkey: pubkey, client: s.client(&cert), epoch: "e1", seqs: map[string]uint64{}}
}

// client has one certificate, or none.
func (s *site) client(cert *tls.Certificate) *http.Client {
	s.t.Helper()
	pool, err := pki.LoadPool(filepath.Join(s.keys(), keydir.ServerCA+".pem"))
	must(s.t, err)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: c}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (s *site) operator() *http.Client {
	base := filepath.Join(s.keys(), keydir.Operator("admin"))
	cert, err := tls.LoadX509KeyPair(base+".pem", base+".key")
	must(s.t, err)
	return s.client(&cert)
}

// publish releases version on channel stable: tagged hosts first if there are any.
func (s *site) publish(version string, canaries ...string) string {
	s.t.Helper()
	hosts := map[string]any{}
	for name, m := range s.machines {
		hosts[name] = map[string]any{"system": "x", "tags": []string{}, "channel": "stable", "closureHash": version + "-closure", "pubkey": m.pubkey}
	}
	waves := []any{map[string]any{"selector": map[string]any{"all": true}, "soakMinutes": 0, "soakSeconds": 1}}
	if len(canaries) > 0 {
		first := map[string]any{"selector": map[string]any{"hosts": canaries}, "soakMinutes": 0, "soakSeconds": 1}
		waves = append([]any{first}, waves...)
	}
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "hosts": hosts,
		"channels":        map[string]any{"stable": map[string]any{"rolloutPolicy": "p", "freshnessWindow": 1440}},
		"rolloutPolicies": map[string]any{"p": map[string]any{"strategy": "s", "onHealthFailure": "rollback-and-halt", "waves": waves}},
		"meta":            map[string]any{},
	})
	must(s.t, err)
	signer, err := keydir.LoadReleaseKey(s.keys())
	must(s.t, err)
	roots, err := trust.LoadFile(filepath.Join(s.keys(), keydir.TrustFile))
	must(s.t, err)
	must(s.t, ignore(release.Write(release.Request{
		Fleet: doc, Refs: map[string]string{"stable": version}, Dir: s.published(), At: time.Now(), Signer: signer, Trust: roots,
	})))
	return "stable@" + version
}

func (s *site) config() controlplane.Config {
	c := controlplane.Config{
		Listen: "127.0.0.1:0", Database: s.database(), DocumentsDir: s.published(), TrustFile: filepath.Join(s.keys(), keydir.TrustFile),
		ServerCert: filepath.Join(s.keys(), "server.pem"), ServerKey: filepath.Join(s.keys(), "server.key"),
		AgentCACert: filepath.Join(s.keys(), keydir.AgentsCA+".pem"), OperatorCACert: filepath.Join(s.keys(), keydir.OperatorsCA+".pem"),
		Planner: s.planner, DocumentsPoll: 20 * time.Millisecond, PlanInterval: 10 * time.Millisecond,
	}
	if s.bubble {
		c.DocumentsPoll, c.PlanInterval = controlplane.DefaultDocumentsPoll, controlplane.DefaultPlanInterval
	}
	return c
}

// start runs a control plane on what is there; shutdown ends it.
func (s *site) start() {
	s.t.Helper()
	if s.deps.Clock == nil {
		s.deps.Clock = clock.Process("test")
	}
	s.deps.Logger = quietLogger(s)
	deps := s.deps
	cp, err := controlplane.New(s.t.Context(), s.config(), deps)
	must(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cp.Run(ctx) }()
	s.cp = cp
	s.stop = func() error { cancel(); return <-done }
}

// quietLogger logs where a failed test shows it.
func quietLogger(s *site) *slog.Logger {
	return slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (s *site) shutdown() error {
	stop := s.stop
	s.stop = nil
	for _, m := range s.machines {
		m.client.CloseIdleConnections()
	}
	return stop()
}

func (s *site) url(path string) string {
	if s.bubble {
		return "https://localhost" + path
	}
	return fmt.Sprintf("https://127.0.0.1:%d%s", s.cp.Addr().(*net.TCPAddr).Port, path)
}

// call makes a request and returns status, body and headers.
func (s *site) call(c *http.Client, method, path string, body []byte, set ...string) (int, []byte, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url(path), bytes.NewReader(body))
	must(s.t, err)
	req.Header.Set(wire.HeaderProtocol, wire.ProtocolVersion)
	for i := 0; i+1 < len(set); i += 2 {
		req.Header.Set(set[i], set[i+1])
	}
	resp, err := c.Do(req)
	must(s.t, err)
	data, err := io.ReadAll(resp.Body)
	must(s.t, errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, data, resp.Header
}

// envelope encodes and signs the host's next event of a rollout.
func (m *machine) envelope(rolloutID string, event host.Event) []byte {
	m.s.t.Helper()
	m.seqs[rolloutID]++
	return m.envelopeAt(rolloutID, m.seqs[rolloutID], event)
}

func (m *machine) envelopeAt(rolloutID string, seq uint64, event host.Event) []byte {
	m.s.t.Helper()
	e := wire.Envelope{Hostname: m.name, RolloutID: rolloutID, Seq: seq, Event: event, Epoch: m.epoch}
	sig, err := trust.SignHost(m.key, e.Append(nil))
	must(m.s.t, err)
	e.Signature = sig
	return e.Append(nil)
}

// send posts an event and wants it stored.
func (m *machine) send(rolloutID string, event host.Event) {
	m.s.t.Helper()
	status, body, _ := m.s.call(m.client, "POST", wire.PathEvents, m.envelope(rolloutID, event))
	if status != http.StatusNoContent {
		m.s.t.Fatalf("%s: %T: %d %s", m.name, event, status, body)
	}
}

func (m *machine) beat(change func(*wire.Heartbeat)) wire.HeartbeatAnswer {
	m.s.t.Helper()
	hb := wire.Heartbeat{Hostname: m.name, At: time.Now().UTC(), AgentVersion: "test", Instance: m.name + "-1", Epoch: m.epoch}
	if change != nil {
		change(&hb)
	}
	status, body, _ := m.s.call(m.client, "POST", wire.PathBeat, hb.Encode())
	if status != http.StatusOK {
		m.s.t.Fatalf("%s: heartbeat: %d %s", m.name, status, body)
	}
	a, err := wire.DecodeHeartbeatAnswer(body)
	must(m.s.t, err)
	return a
}

// poll waits for the host's dispatch.
func (m *machine) poll(query string) (wire.Dispatch, bool) {
	m.s.t.Helper()
	status, body, _ := m.s.call(m.client, "GET", wire.PathDispatch+"?"+query, nil)
	if status == http.StatusNoContent {
		return wire.Dispatch{}, false
	}
	if status != http.StatusOK {
		m.s.t.Fatalf("%s: poll: %d %s", m.name, status, body)
	}
	d, ok, err := wire.DecodeDispatch(body)
	must(m.s.t, err)
	return d, ok
}

// accept reports the acknowledgement of a dispatch.
func (m *machine) accept(d wire.Dispatch, prior string) {
	m.send(d.RolloutID, host.Activate{
		CurrentClosureAtDispatch: prior, ReceivedAt: now(), PolicyHash: d.TicketHash, Wave: d.Wave, HasWave: true, DispatchedAt: d.EnqueuedAt,
		TargetClosure: d.TargetClosure, SoakDueAt: d.SoakDueAt,
	})
}

// switchTo reports a whole healthy switch.
func (m *machine) switchTo(d wire.Dispatch, prior string) {
	m.accept(d, prior)
	m.send(d.RolloutID, host.ActivationStarted{StartedAt: now(), SwitchMethod: "test"})
	m.send(d.RolloutID, host.ActivationCompleted{ObservedCurrentClosure: d.TargetClosure, CompletedAt: now()})
	m.send(d.RolloutID, host.ProbeTopologyDeclared{DeclaredAt: now()})
	m.send(d.RolloutID, host.ConvergedReached{ConvergedAt: now().Add(time.Hour), CurrentClosure: d.TargetClosure})
}

// fail reports a switch that is rolled back.
func (m *machine) fail(d wire.Dispatch, prior string) {
	m.accept(d, prior)
	m.send(d.RolloutID, host.ActivationStarted{StartedAt: now(), SwitchMethod: "test"})
	m.send(d.RolloutID, host.ActivationFailed{ExitCode: 1, FailedAt: now()})
	m.send(d.RolloutID, host.RollbackCompleted{RevertedToClosure: prior, CompletedAt: now()})
}

func now() time.Time { return time.Now().UTC() }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ignore[T any](_ T, err error) error { return err }

// ask gets one answer of the operator API.
func (s *site) ask(path string) map[string]any {
	s.t.Helper()
	status, body, _ := s.call(s.operator(), "GET", "/v1/operator/"+path, nil)
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", path, status, body)
	}
	var out map[string]any
	must(s.t, json.Unmarshal(body, &out))
	return out
}

func (s *site) rolloutState(id string) string {
	return fmt.Sprint(s.ask("rollouts/" + id)["state"])
}

// rows reads the log of a host by the operator API, as kinds with flags.
func (s *site) rows(host string) []string {
	s.t.Helper()
	var out []string
	for _, r := range s.ask("trace?host=" + host)["rows"].([]any) {
		line, err := json.Marshal(r)
		must(s.t, err)
		row, err := ledger.ParseLine(line)
		must(s.t, err)
		out = append(out, strings.Join(append([]string{row.Kind}, row.Flags.Names()...), " "))
	}
	return out
}

// rebuilt fails unless the stored views are what the log says.
func (s *site) rebuilt() {
	s.t.Helper()
	db, err := store.ReadSQLite(context.Background(), s.database())
	must(s.t, err)
	image, err := db.Load(context.Background())
	must(s.t, err)
	differences, err := core.Rebuild(image, func(visit func(*ledger.Row) error) error { return db.Rows(context.Background(), 0, visit) })
	must(s.t, errors.Join(err, db.Close()))
	for _, d := range differences {
		s.t.Error(d)
	}
}

// wait lets the clock run; in a bubble that takes no time.
func (s *site) wait(d time.Duration) {
	s.t.Helper()
	must(s.t, clock.Sleep(s.t.Context(), s.deps.Clock, d))
}
