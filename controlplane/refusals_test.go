package controlplane_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/keydir"
	"nixfleet/release"
	"nixfleet/trust"
	"nixfleet/trust/pki"
	"nixfleet/wire"
)

// running is a site whose host a has its dispatch.
func running(t *testing.T, names ...string) (*site, string, wire.Dispatch) {
	t.Helper()
	s := newSite(t, names...)
	id := s.publish("v1")
	s.start()
	for _, m := range s.machines {
		m.beat(nil)
	}
	d, ok := s.machines["a"].poll("wait=20")
	if !ok {
		t.Fatal("no dispatch")
	}
	return s, id, d
}

func TestEveryRoleReachesItsOwnPathsAndNoOthers(t *testing.T) {
	s, id, _ := running(t, "a")
	agent, operator, stranger := s.machines["a"].client, s.operator(), s.client(nil)
	agents := []string{
		"GET " + wire.PathDispatch + "?wait=0", "POST " + wire.PathEvents, "POST " + wire.PathBatch, "POST " + wire.PathBeat, "POST " + wire.PathRecord,
		"GET " + wire.PathFleet, "GET " + wire.PathFleet + wire.PathSig, "GET " + wire.PathRollouts + id, "GET " + wire.PathTickets + id,
	}
	operators := []string{
		"GET /v1/operator/status", "GET /v1/operator/hosts", "GET /v1/operator/rollouts", "GET /v1/operator/rollouts/" + id, "GET /v1/operator/trace?host=a",
		"GET /v1/operator/why/a", "GET /v1/operator/quarantines", "POST /v1/operator/quarantines/clear", "POST /v1/operator/hosts/a/release",
		"POST /v1/operator/rollouts/" + id + "/clear",
	}
	for _, c := range []struct {
		who     string
		client  *http.Client
		calls   []string
		refused int
	}{
		{"an agent", agent, operators, http.StatusForbidden},
		{"an operator", operator, agents, http.StatusForbidden},
		{"a stranger", stranger, append(agents, operators...), http.StatusUnauthorized},
	} {
		for _, call := range c.calls {
			method, path, _ := strings.Cut(call, " ")
			if status, body, _ := s.call(c.client, method, path, nil); status != c.refused {
				t.Errorf("%s: %s: %d %s", c.who, call, status, body)
			}
		}
	}
	for client, calls := range map[*http.Client][]string{agent: agents, operator: operators} {
		for _, call := range calls {
			method, path, _ := strings.Cut(call, " ")
			if status, body, _ := s.call(client, method, path, nil); status == http.StatusForbidden || status == http.StatusUnauthorized {
				t.Errorf("own path %s: %d %s", call, status, body)
			}
		}
	}
}

func TestACertificateOfAnotherRootGetsNoConnection(t *testing.T) {
	s, _, _ := running(t, "a")
	other, err := pki.NewCA("other agents", time.Now())
	must(t, err)
	m := s.machines["a"]
	csr, err := pki.NewCSR(m.key, "a")
	must(t, err)
	request, err := pki.ParseCSR(csr)
	must(t, err)
	certPEM, err := other.IssueAgent(request, time.Now())
	must(t, err)
	cert, err := pki.AgentCertificate(certPEM, m.key)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url(wire.PathFleet), nil)
	must(t, err)
	resp, err := s.client(&cert).Do(req)
	if err == nil {
		t.Errorf("answered %s", resp.Status)
		must(t, resp.Body.Close())
	}
	var op *tls.CertificateVerificationError
	if errors.As(err, &op) {
		t.Errorf("the client refused the server: %v", err)
	}
}

func TestOlderTLSIsRefused(t *testing.T) {
	s, _, _ := running(t, "a")
	c := s.client(nil)
	c.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS12
	c.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url(wire.PathFleet), nil)
	must(t, err)
	if resp, err := c.Do(req); err == nil {
		t.Errorf("TLS 1.2 answered %s", resp.Status)
		must(t, resp.Body.Close())
	}
}

func TestAnotherProtocolGets426BeforeTheBodyIsRead(t *testing.T) {
	s, _, _ := running(t, "a")
	for _, version := range []string{"2", "", "1.0"} {
		status, _, header := s.call(s.machines["a"].client, "POST", wire.PathEvents, make([]byte, 2<<20), wire.HeaderProtocol, version)
		if status != http.StatusUpgradeRequired || header.Get(wire.HeaderProtocol) != wire.ProtocolVersion {
			t.Errorf("protocol %q: %d, header %q", version, status, header.Get(wire.HeaderProtocol))
		}
	}
	if _, _, header := s.call(s.machines["a"].client, "GET", wire.PathFleet, nil); !wire.ParseFeatures(header.Get(wire.HeaderFeatures)).Has(wire.FeatureTickets) {
		t.Errorf("features %q", header.Get(wire.HeaderFeatures))
	}
}

func TestBadBodiesAreRefusedAndNothingOfThemIsStored(t *testing.T) {
	s, id, d := running(t, "a", "b")
	a, b := s.machines["a"], s.machines["b"]
	before := len(s.rows("a"))
	good := a.envelopeAt(id, 1, host.ActivationStarted{StartedAt: now()})
	unsigned := bytes.Replace(good, []byte(`"signature"`), []byte(`"other"`), 1)
	tampered := bytes.Replace(good, []byte(`"e1"`), []byte(`"e2"`), 1)
	foreign := b.envelopeAt(id, 1, host.ActivationStarted{StartedAt: now()})
	for name, c := range map[string]struct {
		path   string
		body   []byte
		status int
	}{
		"too large":          {wire.PathEvents, bytes.Repeat([]byte(" "), wire.MaxBody+1), http.StatusRequestEntityTooLarge},
		"no JSON":            {wire.PathEvents, []byte("{"), http.StatusBadRequest},
		"empty":              {wire.PathEvents, nil, http.StatusBadRequest},
		"duplicate key":      {wire.PathEvents, bytes.Replace(good, []byte(`{`), []byte(`{"hostname":"a",`), 1), http.StatusBadRequest},
		"unknown kind":       {wire.PathEvents, bytes.Replace(good, []byte("ActivationStarted"), []byte("Activationstarted"), 1), http.StatusBadRequest},
		"another host":       {wire.PathEvents, foreign, http.StatusForbidden},
		"unsigned":           {wire.PathEvents, unsigned, http.StatusForbidden},
		"tampered":           {wire.PathEvents, tampered, http.StatusForbidden},
		"batch of 257":       {wire.PathBatch, wire.AppendBatch(nil, repeat(good, wire.MaxBatch+1)), http.StatusBadRequest},
		"batch no list":      {wire.PathBatch, []byte(`{"events":null}`), http.StatusBadRequest},
		"heartbeat no JSON":  {wire.PathBeat, []byte(`[]`), http.StatusBadRequest},
		"heartbeat of b":     {wire.PathBeat, (&wire.Heartbeat{Hostname: "b", At: now()}).Encode(), http.StatusForbidden},
		"record of b":        {wire.PathRecord, (&wire.RecordMessage{Hostname: "b", RolloutID: id, At: now(), Epoch: "x"}).Encode(), http.StatusForbidden},
		"record unsigned":    {wire.PathRecord, (&wire.RecordMessage{Hostname: "a", RolloutID: id, At: now(), Epoch: "x"}).Encode(), http.StatusForbidden},
		"record incomplete":  {wire.PathRecord, []byte(`{"hostname":"a"}`), http.StatusBadRequest},
		"poll with bad wait": {wire.PathDispatch + "?wait=soon", nil, http.StatusBadRequest},
	} {
		method := "POST"
		if strings.HasPrefix(c.path, wire.PathDispatch) {
			method = "GET"
		}
		if status, body, _ := s.call(a.client, method, c.path, c.body); status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, body, c.status)
		}
	}
	if got := len(s.rows("a")); got != before {
		t.Errorf("%d rows more", got-before)
	}
	a.accept(d, "v0-closure")
}

func repeat(b []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

func TestABatchIsAnsweredOneByOne(t *testing.T) {
	s, id, d := running(t, "a")
	a := s.machines["a"]
	first := a.envelopeAt(id, 1, host.Activate{CurrentClosureAtDispatch: "v0-closure", ReceivedAt: now(), PolicyHash: d.TicketHash, TargetClosure: d.TargetClosure, DispatchedAt: d.EnqueuedAt, SoakDueAt: d.SoakDueAt})
	second := a.envelopeAt(id, 2, host.ActivationStarted{StartedAt: now(), SwitchMethod: "m"})
	hole := a.envelopeAt(id, 4, host.ActivationStarted{StartedAt: now(), SwitchMethod: "m"})
	status, body, _ := s.call(a.client, "POST", wire.PathBatch, wire.AppendBatch(nil, [][]byte{first, []byte(`{"hostname":"a","event":{"seq":9}}`), second, hole, second}))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	results, err := wire.DecodeBatchResults(body)
	must(t, err)
	var got []int
	for _, r := range results {
		got = append(got, r.Status)
	}
	want := []int{204, 400, 204, 409, wire.StatusSkipped}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("statuses %v, want %v", got, want)
		}
	}
	if results[3].Error != wire.ErrorGap || results[3].ReplayFrom != 2 || results[1].Seq != 9 {
		t.Errorf("%+v", results)
	}
}

func TestAGapIsAnsweredWithWhereToReplayFrom(t *testing.T) {
	s, id, _ := running(t, "a")
	a := s.machines["a"]
	status, body, header := s.call(a.client, "POST", wire.PathEvents, a.envelopeAt(id, 3, host.ActivationStarted{StartedAt: now()}))
	p, err := wire.DecodeProblem(body)
	must(t, err)
	if status != http.StatusConflict || p.Error != wire.ErrorGap || p.ReplayFrom != 0 || header.Get(wire.HeaderReplayFrom) != "0" {
		t.Errorf("%d %s %q", status, body, header.Get(wire.HeaderReplayFrom))
	}
}

func TestDocumentsAreServedAsTheyWereSigned(t *testing.T) {
	s, id, _ := running(t, "a", "b")
	a := s.machines["a"]
	roots, err := trust.LoadFile(filepath.Join(s.keys(), "trust.json"))
	must(t, err)
	get := func(path string) ([]byte, []byte) {
		status, raw, header := s.call(a.client, "GET", path, nil)
		if status != http.StatusOK || header.Get("ETag") == "" {
			t.Fatalf("%s: %d %s", path, status, raw)
		}
		if status, body, _ := s.call(a.client, "GET", path, nil, "If-None-Match", header.Get("ETag")); status != http.StatusNotModified || len(body) != 0 {
			t.Errorf("%s again: %d", path, status)
		}
		status, sig, _ := s.call(a.client, "GET", path+wire.PathSig, nil)
		if status != http.StatusOK || len(sig) != trust.SignatureSize {
			t.Fatalf("%s: signature %d, %d bytes", path, status, len(sig))
		}
		return raw, sig
	}
	raw, sig := get(wire.PathFleet)
	must(t, ignore(trust.VerifyFleet(raw, sig, roots, now(), 0)))
	raw, sig = get(wire.PathRollouts + id)
	must(t, ignore(trust.VerifyManifest(raw, sig, roots, now(), time.Hour)))
	raw, sig = get(wire.PathTickets + id)
	v, err := trust.VerifyTicket(raw, sig, roots, now(), 0)
	must(t, err)
	if v.Value().Hostname != "a" {
		t.Errorf("a got the ticket of %s", v.Value().Hostname)
	}
	must(t, os.RemoveAll(filepath.Join(s.published(), "tickets")))
	if again, _ := get(wire.PathTickets + id); !bytes.Equal(again, raw) {
		t.Error("a dispatched ticket that is published no longer is not served")
	}
	for path, want := range map[string]int{
		wire.PathRollouts + "stable@none": http.StatusNotFound, wire.PathTickets + "stable@none": http.StatusNotFound,
		wire.PathTickets + "noid": http.StatusBadRequest, wire.PathEnroll: http.StatusNotFound,
	} {
		if status, body, _ := s.call(a.client, "GET", path, nil); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
}

func TestNothingIsServedBeforeAFleetIsVerified(t *testing.T) {
	s := newSite(t, "a")
	s.start()
	a := s.machines["a"]
	for _, call := range []string{"GET " + wire.PathFleet, "POST " + wire.PathEvents, "POST " + wire.PathBatch, "POST " + wire.PathRecord} {
		method, path, _ := strings.Cut(call, " ")
		status, _, header := s.call(a.client, method, path, nil)
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			t.Errorf("%s: %d", call, status)
		}
	}
	a.beat(nil)
}

func TestARevokedCertificateIsRefusedFromTheNextRequestOn(t *testing.T) {
	s, _, _ := running(t, "a", "b")
	signer, err := keydir.LoadReleaseKey(s.keys())
	must(t, err)
	must(t, release.WriteRevocations(release.Request{Dir: s.published(), At: time.Now(), Signer: signer},
		[]fleet.Revocation{{Hostname: "a", NotBefore: time.Now().Add(time.Minute), Reason: "stolen"}}))
	for { // the documents are looked at every 20 ms
		status, _, _ := s.call(s.machines["a"].client, "GET", wire.PathFleet, nil)
		if status == http.StatusForbidden {
			break
		}
		if status != http.StatusOK {
			t.Fatalf("%d", status)
		}
	}
	if status, body, _ := s.call(s.machines["b"].client, "GET", wire.PathFleet, nil); status != http.StatusOK {
		t.Errorf("b: %d %s", status, body)
	}
}

func TestAFailedCommitIsAnswered503AndTheEventMayComeAgain(t *testing.T) {
	s := newSite(t, "a")
	id := s.publish("v1")
	db, err := store.OpenSQLite(context.Background(), s.database(), slog.New(slog.DiscardHandler))
	must(t, err)
	disk := &failingStore{Store: db, broken: make(chan struct{}, 1)}
	s.deps.Store = disk
	s.start()
	a := s.machines["a"]
	a.beat(nil)
	d, _ := a.poll("wait=20")
	disk.broken <- struct{}{}
	event := a.envelopeAt(id, 1, host.Activate{ReceivedAt: now(), PolicyHash: d.TicketHash, TargetClosure: d.TargetClosure, DispatchedAt: d.EnqueuedAt, SoakDueAt: d.SoakDueAt})
	status, _, header := s.call(a.client, "POST", wire.PathEvents, event)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("on a full disk: %d", status)
	}
	if got := s.ask("why/a")["host"].(map[string]any)["state"]; got != "Pending" {
		t.Errorf("a is %v", got)
	}
	<-disk.broken
	if status, body, _ := s.call(a.client, "POST", wire.PathEvents, event); status != http.StatusNoContent {
		t.Errorf("afterwards: %d %s", status, body)
	}
	must(t, s.shutdown())
	must(t, db.Close())
	s.rebuilt()
}

// failingStore refuses commits while broken is set.
type failingStore struct {
	store.Store
	broken chan struct{} // commits fail while there is something in it
}

var errBroken = errors.New("the disk is full")

func (f *failingStore) Commit(ctx context.Context, c *ledger.Commit) error {
	if len(f.broken) > 0 && len(c.Rows) > 0 {
		return errBroken
	}
	return f.Store.Commit(ctx, c)
}
