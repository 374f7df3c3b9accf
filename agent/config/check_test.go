package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine is a machine on which everything is right, and the settings that say so.
type machine struct {
	t     *testing.T
	dir   string
	cfg   Config
	parts Parts
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	m.cfg = Config{
		ControlPlaneURL: server.URL, MachineID: "web-1", StateDir: m.at("state"), TrustFile: m.at("trust"), HealthChecksFile: m.at("checks"),
		CACert: m.at("ca"), ClientCert: m.at("client"), SSHHostKeyFile: m.at("key"), Backend: "directory", CurrentSystemPath: m.at("current"),
		Intervals: DefaultIntervals,
	}
	m.parts = Parts{
		TrustFile: func(string) error { return nil }, HostKey: func([]byte) error { return nil },
		HealthChecks: func(string, time.Duration) []string { return nil },
		Backend:      func(context.Context) (string, error) { return "v1", nil },
	}
	if err := os.Mkdir(m.cfg.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.write("checks", "{}", 0o644)
	m.write("key", "key", 0o600)
	m.write("ca", certificatePEM(server.Certificate().Raw), 0o644)
	m.certificate("web-1", -time.Hour, 90*24*time.Hour)
	return m
}

func (m *machine) at(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, content string, mode os.FileMode) {
	m.t.Helper()
	if err := errors.Join(os.WriteFile(m.at(name), []byte(content), mode), os.Chmod(m.at(name), mode)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) remove(name string) {
	m.t.Helper()
	if err := os.Remove(m.at(name)); err != nil {
		m.t.Fatal(err)
	}
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// certificate gives the host one that is valid between two times from now.
func (m *machine) certificate(name string, from, to time.Duration) {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("client", certificatePEM(der), 0o600)
}

func TestAMachineOnWhichAllIsRightHasNothingButGoodFindings(t *testing.T) {
	m := newMachine(t)
	findings := Check(t.Context(), m.cfg, m.parts)
	if Worst(findings) != OK || len(findings) != 9 {
		t.Fatalf("got %v", findings)
	}
	left, err := os.ReadDir(m.cfg.StateDir)
	if err != nil || len(left) != 0 {
		t.Fatalf("the check left %v behind, %v", left, err)
	}
	for _, f := range findings {
		if text := f.String(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "ok   ") {
			t.Errorf("%q is not one line", text)
		}
	}
}

func TestWhatIsWrongWithAMachineIsOneLineEach(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(m *machine)
		want  Finding // Text: what it must contain
	}{
		"trust": {func(m *machine) { m.parts.TrustFile = func(string) error { return errors.New("no keys") } }, Finding{Bad, "trustFile", "no keys"}},
		"open key": {
			func(m *machine) { m.write("key", "key", 0o644) },
			Finding{Bad, "sshHostKeyFile", "mode 0644: chmod 0600"},
		},
		"no key":         {func(m *machine) { m.remove("key") }, Finding{Bad, "sshHostKeyFile", "no such file"}},
		"wrong key":      {func(m *machine) { m.parts.HostKey = func([]byte) error { return errors.New("not Ed25519") } }, Finding{Bad, "sshHostKeyFile", "not Ed25519"}},
		"no ca":          {func(m *machine) { m.remove("ca") }, Finding{Bad, "caCert", "no such file"}},
		"empty ca":       {func(m *machine) { m.write("ca", "hello", 0o644) }, Finding{Bad, "caCert", "holds no PEM certificate"}},
		"no certificate": {func(m *machine) { m.remove("client") }, Finding{Bad, "clientCert", "no such file"}},
		"to enrol": {
			func(m *machine) {
				m.remove("client")
				m.cfg.BootstrapTokenFile = m.at("token")
				m.write("token", "t", 0o600)
			},
			Finding{Warn, "clientCert", "the agent enrols first"},
		},
		"open token": {func(m *machine) { m.cfg.BootstrapTokenFile = m.at("token"); m.write("token", "t", 0o640) }, Finding{Bad, "bootstrapTokenFile", "mode 0640"}},
		"lost token": {func(m *machine) { m.remove("client"); m.cfg.BootstrapTokenFile = m.at("token") }, Finding{Bad, "bootstrapTokenFile", "no such file"}},
		"other host": {func(m *machine) { m.certificate("web-2", -time.Hour, time.Hour) }, Finding{Bad, "clientCert", `it is for "web-2", machineID is "web-1"`}},
		"expired":    {func(m *machine) { m.certificate("web-1", -2*time.Hour, -time.Hour) }, Finding{Bad, "clientCert", "expired at"}},
		"not yet":    {func(m *machine) { m.certificate("web-1", time.Hour, 2*time.Hour) }, Finding{Bad, "clientCert", "not valid before"}},
		"soon":       {func(m *machine) { m.certificate("web-1", -time.Hour, 24*time.Hour) }, Finding{Warn, "clientCert", "expires at"}},
		"no state":   {func(m *machine) { m.remove("state") }, Finding{Warn, "stateDir", "does not exist"}},
		"open state": {func(m *machine) { m.chmod("state", 0o755) }, Finding{Warn, "stateDir", "chmod 0700"}},
		"state file": {func(m *machine) { m.remove("state"); m.write("state", "", 0o600) }, Finding{Bad, "stateDir", "not a directory"}},
		"bad checks": {func(m *machine) {
			m.parts.HealthChecks = func(string, time.Duration) []string { return []string{"what"} }
		}, Finding{Bad, "healthChecksFile", "what: every rollout would fail here"}},
		"no checks": {func(m *machine) { m.remove("checks") }, Finding{Warn, "healthChecksFile", "does not exist"}},
		"bad backend": {func(m *machine) {
			m.parts.Backend = func(context.Context) (string, error) {
				return "", errors.Join(errors.New("broken"), errors.New("twice"))
			}
		}, Finding{Bad, "backend", "directory: broken; twice"}},
		"nothing runs": {
			func(m *machine) { m.parts.Backend = func(context.Context) (string, error) { return "", nil } },
			Finding{Warn, "currentSystemPath", "does not exist"},
		},
		"other server": {func(m *machine) { m.write("ca", m.content("client"), 0o644) }, Finding{Warn, "controlPlaneURL", "not reached from here"}},
		"no server":    {func(m *machine) { m.cfg.ControlPlaneURL = "https://127.0.0.1:1" }, Finding{Warn, "controlPlaneURL", "connection refused"}},
		"unasked":      {func(m *machine) { m.parts = Parts{} }, Finding{Warn, "trustFile", "not checked"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.spoil(m)
			findings := Check(t.Context(), m.cfg, m.parts)
			for _, f := range findings {
				if f.Level == c.want.Level && f.Key == c.want.Key && strings.Contains(f.Text, c.want.Text) {
					if worst := Worst(findings); worst != c.want.Level {
						t.Errorf("the worst is %s", worst)
					}
					return
				}
			}
			t.Errorf("got %v\nwant %v", findings, c.want)
		})
	}
}

func (m *machine) chmod(name string, mode os.FileMode) {
	m.t.Helper()
	if err := os.Chmod(m.at(name), mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) content(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(m.at(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}
