package pki_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nixfleet/trust"
	"nixfleet/trust/pki"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

type world struct {
	servers, agents, operators *pki.CA
	hostKey                    ed25519.PrivateKey
	agentCert                  []byte
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{
		servers:   must(pki.NewCA("servers", now))(t),
		agents:    must(pki.NewCA("agents", now))(t),
		operators: must(pki.NewCA("operators", now))(t),
		hostKey:   must(trust.GenerateHostKey())(t),
	}
	request := must(pki.ParseCSR(must(pki.NewCSR(w.hostKey, "web-01"))(t)))(t)
	w.agentCert = must(w.agents.IssueAgent(request, now))(t)
	return w
}

// handshake runs a real TLS 1.3 handshake over a pipe and returns what the server saw of the client.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	at := func() time.Time { return now.Add(time.Hour) }
	server.Time, client.Time = at, at
	server.MinVersion, client.MinVersion = tls.VersionTLS13, tls.VersionTLS13
	a, b := net.Pipe()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := c.Handshake()
		if err == nil {
			// The server's verdict on the certificate reaches a TLS 1.3 client with its first read.
			_, err = c.Read(make([]byte, 1))
		}
		done <- errors.Join(err, b.Close())
	}()
	err := s.Handshake()
	state := s.ConnectionState()
	if err == nil {
		_, err = s.Write([]byte("x"))
	}
	err = errors.Join(err, a.Close())
	if clientErr := <-done; err == nil {
		err = clientErr
	}
	return state, err
}

func serverConfig(t *testing.T, w world, names ...string) *tls.Config {
	t.Helper()
	pair := must(w.servers.IssueServer(now, names...))(t)
	pool := w.agents.Pool()
	return &tls.Config{
		Certificates: []tls.Certificate{must(tls.X509KeyPair(pair.CertPEM, pair.KeyPEM))(t)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
}

func TestAnAgentMeetsTheServerOverTLS13WithItsHostKey(t *testing.T) {
	w := newWorld(t)
	cert := must(pki.AgentCertificate(w.agentCert, w.hostKey))(t)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "cp.example.org", "192.0.2.7"} {
		state, err := handshake(t, serverConfig(t, w, "cp.example.org", "192.0.2.7"), &tls.Config{
			RootCAs: w.servers.Pool(), ServerName: name, Certificates: []tls.Certificate{cert},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaf := state.PeerCertificates[0]
		if state.Version != tls.VersionTLS13 || leaf.Subject.CommonName != "web-01" {
			t.Errorf("%s: version %x, %s", name, state.Version, leaf.Subject)
		}
		if !w.hostKey.Public().(ed25519.PublicKey).Equal(leaf.PublicKey) {
			t.Error("the TLS key is not the host's key")
		}
	}
	if _, err := handshake(t, serverConfig(t, w), &tls.Config{RootCAs: w.servers.Pool(), ServerName: "other.example.org", Certificates: []tls.Certificate{cert}}); err == nil {
		t.Error("a server of another name is accepted")
	}
	if _, err := handshake(t, serverConfig(t, w), &tls.Config{RootCAs: w.agents.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{cert}}); err == nil {
		t.Error("a server of another root is accepted")
	}
	if _, err := handshake(t, serverConfig(t, w), &tls.Config{RootCAs: w.servers.Pool(), ServerName: "localhost"}); err == nil {
		t.Error("a client without a certificate is accepted")
	}
}

func TestTheRoleIsTheRoot(t *testing.T) {
	w := newWorld(t)
	agent := must(pki.ParseCertificate(w.agentCert))(t)
	pair := must(w.operators.IssueOperator("web-01", now))(t)
	operator := must(pki.ParseCertificate(pair.CertPEM))(t)
	server := must(pki.ParseCertificate(must(w.agents.IssueServer(now))(t).CertPEM))(t)
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		pool *x509.CertPool
		at   time.Time
		want error
	}{
		"an agent":                      {agent, w.agents.Pool(), now, nil},
		"an operator":                   {operator, w.operators.Pool(), now, nil},
		"an agent as operator":          {agent, w.operators.Pool(), now, pki.ErrRole},
		"an operator as agent":          {operator, w.agents.Pool(), now, pki.ErrRole},
		"a server as agent":             {server, w.agents.Pool(), now, pki.ErrRole},
		"before it was issued":          {agent, w.agents.Pool(), now.Add(-time.Second), pki.ErrRole},
		"on its last day":               {agent, w.agents.Pool(), now.Add(pki.AgentLifetime), nil},
		"after it":                      {agent, w.agents.Pool(), now.Add(pki.AgentLifetime + time.Second), pki.ErrRole},
		"an operator after a year":      {operator, w.operators.Pool(), now.Add(pki.OperatorLifetime + time.Second), pki.ErrRole},
		"an agent against no root":      {agent, x509.NewCertPool(), now, pki.ErrRole},
		"the agent when asked for long": {agent, w.agents.Pool(), now.Add(89 * 24 * time.Hour), nil},
	} {
		if err := pki.VerifyClient(c.leaf, c.pool, c.at); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if life := agent.NotAfter.Sub(agent.NotBefore); life != 90*24*time.Hour || !agent.NotBefore.Equal(now) {
		t.Errorf("an agent's certificate lives %s from %s", life, agent.NotBefore)
	}
	if agent.IsCA || len(agent.DNSNames) != 0 || agent.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("an agent's certificate may do more than it should: %+v", agent)
	}
}

func TestARequestIsTakenOnlyAsItIsSigned(t *testing.T) {
	key := must(trust.GenerateHostKey())(t)
	good := must(pki.NewCSR(key, "web-01"))(t)
	r := must(pki.ParseCSR(good))(t)
	if r.Hostname != "web-01" || !r.Pubkey.Equal(key.Public()) {
		t.Errorf("%+v", r)
	}
	block, _ := pem.Decode(good)
	forged := append([]byte(nil), block.Bytes...)
	forged[len(forged)-1] ^= 1
	ec := must(pki.GenerateP256())(t)
	for name, data := range map[string][]byte{
		"nothing":          nil,
		"no PEM":           []byte("x"),
		"another block":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}),
		"a forged one":     pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: forged}),
		"one without name": request(t, "", key),
		"another kind":     request(t, "web-01", ec),
		"a huge one":       append(append([]byte(nil), good...), make([]byte, 20<<10)...),
	} {
		if _, err := pki.ParseCSR(data); !errors.Is(err, pki.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pki.NewCSR(key, "a b"); err == nil {
		t.Error("a request for a name that is none")
	}
	agents := must(pki.NewCA("agents", now))(t)
	if _, err := agents.IssueAgent(pki.Request{Hostname: "x"}, now); !errors.Is(err, pki.ErrMalformed) {
		t.Errorf("a request made by hand: %v", err)
	}
	cert := must(agents.IssueAgent(r, now))(t)
	if _, err := pki.AgentCertificate(cert, must(trust.GenerateHostKey())(t)); !errors.Is(err, pki.ErrMalformed) {
		t.Errorf("another host's key: %v", err)
	}
}

func request(t *testing.T, name string, key crypto.Signer) []byte {
	t.Helper()
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestKeysAndRootsAreKeptSafelyAndNeverOverwritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys", "deep")
	ca := must(pki.CreateCA(dir, "agents-ca", now))(t)
	again := must(pki.LoadCA(dir, "agents-ca"))(t)
	if string(again.CertPEM()) != string(ca.CertPEM()) {
		t.Error("another certificate came back")
	}
	if _, err := again.IssueOperator("ada", now); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "agents-ca.key"): 0o600, filepath.Join(dir, "agents-ca.pem"): 0o644} {
		if got := must(os.Stat(path))(t).Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
	}
	before := must(os.ReadFile(filepath.Join(dir, "agents-ca.key")))(t)
	if _, err := pki.CreateCA(dir, "agents-ca", now); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second root: %v", err)
	}
	if after := must(os.ReadFile(filepath.Join(dir, "agents-ca.key")))(t); string(after) != string(before) {
		t.Error("the key was overwritten")
	}
	key := filepath.Join(dir, "release.key")
	release := must(pki.GenerateEd25519())(t)
	if err := pki.SaveKey(key, release); err != nil {
		t.Fatal(err)
	}
	if loaded := must(pki.LoadKey(key))(t); !release.Equal(loaded) {
		t.Error("another key came back")
	}
	if err := pki.SaveKey(key, release); !errors.Is(err, pki.ErrExists) {
		t.Errorf("a second key: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o666} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.LoadKey(key); !errors.Is(err, pki.ErrPermissions) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if _, err := pki.LoadPool(filepath.Join(dir, "agents-ca.pem")); err != nil {
		t.Error(err)
	}
	if _, err := pki.LoadPool(filepath.Join(dir, "agents-ca.key")); !errors.Is(err, pki.ErrMalformed) {
		t.Errorf("a pool of a key: %v", err)
	}
	other := must(pki.GenerateP256())(t)
	if _, err := pki.NewCAFrom(ca.CertPEM(), other); !errors.Is(err, pki.ErrMalformed) {
		t.Errorf("a root with another key: %v", err)
	}
	w := newWorld(t)
	if _, err := pki.NewCAFrom(w.agentCert, w.hostKey); !errors.Is(err, pki.ErrMalformed) {
		t.Errorf("a leaf as root: %v", err)
	}
}
