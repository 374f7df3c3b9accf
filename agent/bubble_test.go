package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nixfleet/agent/activation"
	"nixfleet/agent/config"
	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/internal/pipenet"
	"nixfleet/journal"
	"nixfleet/replay"
	"nixfleet/trust"
	"nixfleet/wire"
)

const (
	v1  = "00000000000000000000000000000001-v1"
	v2  = "00000000000000000000000000000002-v2"
	v3  = "00000000000000000000000000000003-v3"
	web = "web-1"
)

// controlPlane is what an agent needs of one: it serves what it is given and keeps what it gets.
type controlPlane struct {
	t        testing.TB
	mu       sync.Mutex
	dispatch *wire.Dispatch
	wake     chan struct{}
	tickets  map[string][2][]byte
	stored   map[string]map[uint64]wire.Envelope
	order    []string
	beats    []wire.Heartbeat
	records  []wire.RecordMessage
	answer   wire.HeartbeatAnswer
	status   func(env wire.Envelope) int // 0: as it should be
	down     bool
	batches  bool
	hostKey  ed25519.PublicKey
	original map[string][]byte // whole documents by path; nil: it has tickets
	asked    map[string]int    // by path, of an original
}

func (cp *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cp.mu.Lock()
	down := cp.down
	cp.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		cp.t.Error(err)
	}
	if cp.original != nil {
		cp.serveOriginal(w, r, body)
		return
	}
	features := wire.FeatureTickets + ", " + wire.FeatureRollbackFailed + ", " + wire.FeatureRecord
	if cp.batches {
		features = wire.AllFeatures
	}
	w.Header().Set(wire.HeaderFeatures, features)
	switch {
	case r.URL.Path == wire.PathDispatch:
		cp.serveDispatch(w, r)
	case strings.HasPrefix(r.URL.Path, wire.PathTickets):
		id, sig := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, wire.PathTickets), wire.PathSig)
		cp.mu.Lock()
		pair, ok := cp.tickets[id]
		cp.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		n := 0
		if sig {
			n = 1
		}
		w.Write(pair[n])
	case r.URL.Path == wire.PathBeat:
		h, err := wire.DecodeHeartbeat(body)
		if err != nil {
			cp.t.Error(err)
		}
		cp.mu.Lock()
		cp.beats = append(cp.beats, h)
		answer := cp.answer
		cp.answer = wire.HeartbeatAnswer{}
		cp.mu.Unlock()
		answer.ReceivedAt = time.Now().UTC()
		w.Write(answer.Encode())
	case r.URL.Path == wire.PathEvents:
		cp.serveEvent(w, body)
	case r.URL.Path == wire.PathBatch:
		cp.serveBatch(w, body)
	case r.URL.Path == wire.PathRecord:
		m, err := wire.DecodeRecordMessage(body)
		if err != nil {
			cp.t.Error(err)
		}
		cp.mu.Lock()
		cp.records = append(cp.records, m)
		cp.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (cp *controlPlane) serveEvent(w http.ResponseWriter, body []byte) {
	status, p := cp.take(body)
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		w.Write(p.Encode())
	}
}

func (cp *controlPlane) serveDispatch(w http.ResponseWriter, r *http.Request) {
	wait, err := time.ParseDuration(r.URL.Query().Get("wait") + "s")
	if err != nil {
		cp.t.Error(err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		cp.mu.Lock()
		d, wake := cp.dispatch, cp.wake
		cp.mu.Unlock()
		if d != nil && d.RolloutID != r.URL.Query().Get("have") {
			w.Write(d.Encode())
			return
		}
		select {
		case <-wake:
		case <-timer.C:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (cp *controlPlane) serveBatch(w http.ResponseWriter, body []byte) {
	raw, err := wire.SplitBatch(body)
	if err != nil {
		cp.t.Error(err)
	}
	var results []wire.BatchResult
	failed := false
	for _, one := range raw {
		env, err := wire.DecodeEnvelope(one)
		if err != nil {
			cp.t.Error(err)
		}
		res := wire.BatchResult{RolloutID: env.RolloutID, Seq: env.Seq}
		if !failed {
			var p wire.Problem
			res.Status, p = cp.take(one)
			res.Error, res.ReplayFrom, res.HasReplayFrom = p.Error, p.ReplayFrom, p.HasReplayFrom
			failed = res.Status != http.StatusNoContent && !aboutTheEvent(res.Status)
		}
		results = append(results, res)
	}
	w.Write(wire.EncodeBatchResults(results))
}

// take stores one envelope under the gap rule of docs/design/03-wire-protocol.md.
func (cp *controlPlane) take(raw []byte) (int, wire.Problem) {
	env, err := wire.DecodeEnvelope(raw)
	if err != nil {
		cp.t.Error(err)
		return http.StatusBadRequest, wire.Problem{Error: err.Error()}
	}
	if err := trust.VerifyHost(cp.hostKey, raw, env.Signature); err != nil {
		cp.t.Error(err)
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.status != nil {
		if s := cp.status(env); s != 0 {
			return s, wire.Problem{Error: "as told"}
		}
	}
	log := cp.stored[env.RolloutID]
	if log == nil {
		log = map[uint64]wire.Envelope{}
		cp.stored[env.RolloutID] = log
	}
	last := uint64(0)
	for seq := range log {
		last = max(last, seq)
	}
	after := env.Seq - 1
	if env.HasAfter {
		after = env.After
	}
	if after > last {
		return http.StatusConflict, wire.Problem{Error: wire.ErrorGap, ReplayFrom: last, HasReplayFrom: true}
	}
	if _, known := log[env.Seq]; !known {
		log[env.Seq] = env
		cp.order = append(cp.order, fmt.Sprintf("%s/%d %s", env.RolloutID, env.Seq, env.Kind))
		if d := cp.dispatch; d != nil && env.Kind == "DispatchAck" && d.RolloutID == env.RolloutID {
			cp.dispatch = nil
		}
	}
	return http.StatusNoContent, wire.Problem{}
}

func (cp *controlPlane) kinds() string {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	var out []string
	for _, line := range cp.order {
		_, kind, _ := strings.Cut(line, " ")
		out = append(out, kind)
	}
	return strings.Join(out, " ")
}

func (cp *controlPlane) send(d *wire.Dispatch) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.dispatch = d
	close(cp.wake)
	cp.wake = make(chan struct{})
}

// theHost is a backend whose switches are done by the bubble's clock: a process cannot run in a bubble.
type theHost struct {
	mu      sync.Mutex
	current string
	profile string
	took    time.Duration
	units   map[string]activation.UnitState
	pins    map[string]bool
	fires   []string
	fail    map[string]int32 // exit codes by closure
	lose    bool             // units vanish without a result
	clock   clock.Clock
}

func newHost(clk clock.Clock) *theHost {
	return &theHost{clock: clk, current: v1, profile: v1, took: time.Second, units: map[string]activation.UnitState{}, pins: map[string]bool{}, fail: map[string]int32{}}
}

func (h *theHost) Method() string { return "bubble" }
func (h *theHost) Current(context.Context) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current, nil
}

func (h *theHost) Profile(context.Context) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.profile, nil
}

func (h *theHost) SetProfile(_ context.Context, c string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.profile = c
	return nil
}
func (h *theHost) Busy(context.Context) (bool, error)    { return false, nil }
func (h *theHost) Realise(context.Context, string) error { return nil }
func (h *theHost) Switch(_ context.Context, closure, unit string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fires = append(h.fires, closure)
	if h.lose {
		return nil
	}
	h.units[unit] = activation.UnitState{Running: true, Started: h.clock.Now()}
	time.AfterFunc(h.took, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		res := &activation.Result{Unit: unit, Closure: closure, Phase: activation.PhaseDone}
		if code := h.fail[closure]; code != 0 {
			res.Phase, res.Exit = activation.PhaseSwitch, code
		} else {
			h.current = closure
		}
		h.units[unit] = activation.UnitState{Result: res}
	})
	return nil
}

func (h *theHost) Unit(_ context.Context, unit string) (activation.UnitState, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.units[unit], nil
}
func (h *theHost) Stop(context.Context, string) error { return nil }
func (h *theHost) Pin(_ context.Context, c string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pins[c] = true
	return nil
}

func (h *theHost) Unpin(_ context.Context, c string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pins, c)
	return nil
}

func (h *theHost) Pinned(context.Context) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for c := range h.pins {
		out = append(out, c)
	}
	return out, nil
}

func (h *theHost) fired() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, c := range h.fires {
		out = append(out, c[len(c)-2:])
	}
	return strings.Join(out, " ")
}

// site is a host, its agent and its control plane in one bubble.
type site struct {
	t           testing.TB
	cp          *controlPlane
	host        *theHost
	cfg         config.Config
	signer      ed25519.PrivateKey
	listener    *pipenet.Listener
	clock       clock.Clock
	fs          journal.FS
	mu          sync.Mutex
	transitions []string
	soak        uint64
	policy      host.OnFailure
}

// inBubble runs a test with a site around it; everything ends with it, and every goroutine must have.
func inBubble(t *testing.T, run func(s *site)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, dir)
		server := &http.Server{Handler: s.cp}
		var all sync.WaitGroup
		all.Go(func() {
			if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		run(s)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
}

func newSite(t testing.TB, dir string) *site {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hostKey, err := trust.GenerateHostKey()
	must(err)
	pem, err := trust.MarshalHostKey(hostKey, "test")
	must(err)
	_, signer, err := ed25519.GenerateKey(nil)
	must(err)
	pub, err := trust.PublicKey(signer)
	must(err)
	file, err := (&trust.File{CIRelease: trust.Slot{Current: &pub}}).Encode()
	must(err)
	clk := clock.Process("boot-1")
	s := &site{
		t: t, host: newHost(clk), signer: signer, listener: pipenet.Listen(), clock: clk, soak: 30, policy: host.RollbackAndHalt,
		cp: &controlPlane{
			t: t, wake: make(chan struct{}), tickets: map[string][2][]byte{}, stored: map[string]map[uint64]wire.Envelope{}, batches: true,
			hostKey: hostKey.Public().(ed25519.PublicKey),
		},
		cfg: config.Config{
			ControlPlaneURL: "http://cp", MachineID: web, StateDir: filepath.Join(dir, "state"), TrustFile: filepath.Join(dir, "trust.json"),
			HealthChecksFile: filepath.Join(dir, "health-checks.json"), SSHHostKeyFile: filepath.Join(dir, "key"), Intervals: config.DefaultIntervals,
		},
	}
	must(os.WriteFile(s.cfg.SSHHostKeyFile, pem, 0o600))
	must(os.WriteFile(s.cfg.TrustFile, file, 0o600))
	must(os.WriteFile(s.cfg.HealthChecksFile, []byte(`{}`), 0o600))
	return s
}

// run starts an agent; stop ends it and waits.
func (s *site) run() (stop func()) {
	s.t.Helper()
	a, err := New(s.cfg, Deps{
		Clock: s.clock, Backend: s.host, JournalFS: s.fs, Logger: slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		HTTP: s.http(),
		OnTransition: func(tr host.RecordTransition) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.transitions = append(s.transitions, tr.To.String())
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
		if s.fs != nil {
			return
		}
		// Whatever happened, the flight recorder tells it again to the last bit.
		if report, err := replay.Journal(s.cfg.StateDir, io.Discard, true); err != nil || !report.Verified() {
			s.t.Errorf("replay: %+v %v", report, err)
		}
	}
}

func (s *site) http() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.listener.DialContext}}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (s *site) states() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.transitions, " ")
}

// ticket signs a ticket as a release does.
func (s *site) ticket(id, target string) (raw, sig []byte) {
	s.t.Helper()
	rid, err := fleet.ParseRolloutID(id)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err = json.Marshal(map[string]any{
		"schemaVersion": 1, "hostname": web, "rolloutId": id, "channel": rid.Channel(), "wave": 0,
		"targetClosure": target, "soakSeconds": s.soak, "freshnessSeconds": 86400,
		"policy":    map[string]any{"onHealthFailure": s.policy.String(), "sustainedFailureSeconds": 20, "activationTimeoutSeconds": 600},
		"fleetHash": fmt.Sprintf("%064d", 1), "signedAt": s.clock.Now().Wall.Format(time.RFC3339),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	sig, err = trust.SignDocument(s.signer, raw)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw, sig
}

// release publishes a ticket and returns the dispatch for it.
func (s *site) release(id, target string) *wire.Dispatch {
	s.t.Helper()
	raw, sig := s.ticket(id, target)
	s.cp.mu.Lock()
	s.cp.tickets[id] = [2][]byte{raw, sig}
	s.cp.mu.Unlock()
	now := s.clock.Now().Wall
	return &wire.Dispatch{Hostname: web, RolloutID: id, TargetClosure: target, SoakDueAt: now, EnqueuedAt: now, HasWave: true}
}

// inputFor is what the long poll makes of a release.
func (s *site) inputFor(id, target string) core.Dispatch {
	s.t.Helper()
	d := s.release(id, target)
	keys, err := trust.LoadFile(s.cfg.TrustFile)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, sig := s.ticket(id, target)
	ticket, err := trust.VerifyTicket(raw, sig, keys, s.clock.Now().Wall, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return core.Dispatch{Message: *d, Ticket: ticket, Keys: keys.Fingerprint(), Current: core.Current{Closure: v1, Began: s.clock.Now()}}
}

// pass lets the bubble's time go by.
func (s *site) pass(d time.Duration) {
	if err := clock.Sleep(s.t.Context(), s.clock, d); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}
