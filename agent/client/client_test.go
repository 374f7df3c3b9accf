package client

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nixfleet/wire"
)

// certify makes a certificate for key, signed by itself.
func certify(t *testing.T, key ed25519.PrivateKey, cn, file string) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{Subject: pkix.Name{CommonName: cn}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// connect gives a client of a real TLS server that wants the client's certificate.
func connect(t *testing.T, maxTLS uint16, handler http.HandlerFunc) *Client {
	t.Helper()
	dir := t.TempDir()
	serverKey, hostKey := ed25519.NewKeyFromSeed(make([]byte, 32)), ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
	serverCert := certify(t, serverKey, "cp", filepath.Join(dir, "ca.pem"))
	hostCert := certify(t, hostKey, "web-1", filepath.Join(dir, "host.pem"))
	pool := x509.NewCertPool()
	pool.AddCert(hostCert)
	srv := httptest.NewUnstartedServer(handler)
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{serverCert.Raw}, PrivateKey: serverKey}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: maxTLS,
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Base: "https://localhost:" + port, CACert: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "host.pem"), Key: hostKey, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func get(t *testing.T, c *Client, limit int64) (Answer, error) {
	t.Helper()
	return c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/v1/rollouts/stable@a%20b", Timeout: 5 * time.Second, Limit: limit})
}

func TestTheHostShowsItsCertificateAndTheProtocol(t *testing.T) {
	c := connect(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.Version != tls.VersionTLS13 || r.TLS.PeerCertificates[0].Subject.CommonName != "web-1" {
			t.Errorf("%x %v", r.TLS.Version, r.TLS.PeerCertificates[0].Subject)
		}
		if r.Header.Get(wire.HeaderProtocol) != wire.ProtocolVersion || r.URL.Path != "/v1/rollouts/stable@a b" {
			t.Error(r.Header, r.URL.Path)
		}
		w.Header().Set(wire.HeaderFeatures, wire.AllFeatures)
	})
	if _, known := c.Announced(); known {
		t.Error("features are known before an answer")
	}
	if answer, err := get(t, c, 0); err != nil || answer.Status != http.StatusOK {
		t.Fatal(answer, err)
	}
	if f, known := c.Announced(); !known || !f.Has(wire.FeatureBatch) {
		t.Error("features are not known")
	}
}

func TestOlderTLSIsRefused(t *testing.T) {
	c := connect(t, tls.VersionTLS12, func(http.ResponseWriter, *http.Request) { t.Error("served") })
	if _, err := get(t, c, 0); !errors.Is(err, ErrTransport) {
		t.Fatal(err)
	}
}

func TestARedirectIsAnAnswerAndNotFollowed(t *testing.T) {
	n := 0
	c := connect(t, 0, func(w http.ResponseWriter, r *http.Request) {
		n++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if answer, err := get(t, c, 0); err != nil || answer.Status != http.StatusTemporaryRedirect || n != 1 {
		t.Fatal(answer, err, n)
	}
}

func TestALongBodyIsNoAnswer(t *testing.T) {
	c := connect(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write(make([]byte, 101)); err != nil {
			t.Error(err)
		}
	})
	if _, err := get(t, c, 101); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, c, 100); !errors.Is(err, ErrTransport) {
		t.Fatal(err)
	}
}

func TestRetryAfterIsSecondsWithinABound(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "99999": MaxRetryAfter, "-1": 0, "Wed, 21 Oct 2026 07:28:00 GMT": 0,
	} {
		if got := retryAfter(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
