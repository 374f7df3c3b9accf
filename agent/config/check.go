package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/clock"
)

// Level says how bad a finding is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // the agent runs, but not well or not for long
	Bad  Level = "bad"  // the agent would not start, or not do its work
)

// Finding is one line of `nixfleet-agent check`.
type Finding struct {
	Level Level
	Key   string // the setting it is about, or what else was looked at
	Text  string // what was found and, unless it is OK, what to do
}

func (f Finding) String() string { return fmt.Sprintf("%-4s %s: %s", f.Level, f.Key, f.Text) }

// Parts are the agent's other parts, asked whether they could work with what the settings name. A part that is nil
// is not asked, and that is a finding too.
type Parts struct {
	TrustFile    func(path string) error                               // parses it
	HostKey      func(pem []byte) error                                // parses it
	HealthChecks func(path string, floor time.Duration) []string       // returns the defects
	Backend      func(ctx context.Context) (current string, err error) // opens it, returns what the host runs
}

const (
	// freeSpace is what the state directory needs: 64 MiB of journal, its reserve, and a release's worth of air.
	freeSpace = 128 << 20
	// maxRead bounds every file that is looked into.
	maxRead = 1 << 20
	// expirySoon is when somebody should know: renewal begins at half of 90 days.
	expirySoon = 14 * 24 * time.Hour
	// reachTimeout bounds the one look at the network.
	reachTimeout = 10 * time.Second
)

// Check looks at the machine and at everything the settings name, changes nothing itself but a file that it makes
// and removes in the state directory, and returns a finding for each thing it looked at. docs/design/04-agent.md, 4.5.
func Check(ctx context.Context, c Config, parts Parts) []Finding {
	k := &checker{ctx: ctx, cfg: c, parts: parts}
	for _, look := range []func(){
		k.clock, k.stateDir, k.trustFile, k.hostKey, k.certificates, k.token, k.healthChecks, k.backend, k.controlPlane,
	} {
		look()
	}
	return k.findings
}

// Worst returns the worst level found.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Bad || worst == OK {
			worst = f.Level
		}
		if worst == Bad {
			break
		}
	}
	return worst
}

type checker struct {
	ctx      context.Context
	cfg      Config
	parts    Parts
	now      time.Time
	roots    *x509.CertPool
	findings []Finding
}

func (k *checker) found(level Level, key, format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ") // joined errors have a line each
	k.findings = append(k.findings, Finding{level, key, text})
}

// verdict is OK with good, or Bad with the error.
func (k *checker) verdict(key string, err error, good string, args ...any) {
	if err != nil {
		k.found(Bad, key, "%v", err)
		return
	}
	k.found(OK, key, good, args...)
}

func (k *checker) clock() {
	clk, err := clock.System()
	if err != nil {
		k.found(Bad, "clock", "%v: soaks cannot be timed without the boot id", err)
		return
	}
	now := clk.Now()
	k.now = now.Wall
	// Nothing could be fresh before this program was written.
	if k.now.Year() < 2025 {
		k.found(Bad, "clock", "it is %s here: set the clock, or every signature lies in the future", k.now.Format(time.RFC3339))
		return
	}
	k.found(OK, "clock", "%s, boot %s, up %s", k.now.Format(time.RFC3339), now.BootID, now.Boot.Round(time.Second))
}

func (k *checker) stateDir() {
	dir := k.cfg.StateDir
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		k.found(Warn, "stateDir", "%s does not exist; the agent makes it if it may", dir)
		return
	}
	if err != nil || !info.IsDir() {
		k.found(Bad, "stateDir", "%s is not a directory (%v)", dir, err)
		return
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		k.found(Warn, "stateDir", "%s has mode %04o: chmod 0700, others need not read it", dir, perm)
	}
	probe, err := os.CreateTemp(dir, ".check-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		k.found(Bad, "stateDir", "cannot be written: %v", err)
		return
	}
	var fsStat unix.Statfs_t
	if err := unix.Statfs(dir, &fsStat); err != nil {
		k.found(Bad, "stateDir", "free space of %s: %v", dir, err)
		return
	}
	free := fsStat.Bavail * uint64(fsStat.Bsize)
	if free < freeSpace {
		k.found(Warn, "stateDir", "%d MiB free, want %d MiB: a full disk keeps a host from reporting", free>>20, freeSpace>>20)
		return
	}
	k.found(OK, "stateDir", "%s can be written, %d MiB free", dir, free>>20)
}

func (k *checker) trustFile() {
	if k.parts.TrustFile == nil {
		k.found(Warn, "trustFile", "not checked")
		return
	}
	k.verdict("trustFile", k.parts.TrustFile(k.cfg.TrustFile), "%s", k.cfg.TrustFile)
}

func (k *checker) hostKey() {
	const key = "sshHostKeyFile"
	data, err := k.secret(key, k.cfg.SSHHostKeyFile)
	if err != nil {
		k.found(Bad, key, "%v", err)
		return
	}
	if k.parts.HostKey == nil {
		k.found(Warn, key, "not checked")
		return
	}
	k.verdict(key, k.parts.HostKey(data), "%s", k.cfg.SSHHostKeyFile)
}

// secret reads a file that only its owner may read.
func (k *checker) secret(key, path string) ([]byte, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		k.found(Bad, key, "%s has mode %04o: chmod 0600, whoever reads it can speak for this host", path, perm)
	}
	return data, nil
}

func (k *checker) token() {
	if k.cfg.BootstrapTokenFile == "" {
		return
	}
	_, err := k.secret("bootstrapTokenFile", k.cfg.BootstrapTokenFile)
	if _, certErr := os.Stat(k.cfg.ClientCert); errors.Is(err, fs.ErrNotExist) && certErr == nil {
		k.found(OK, "bootstrapTokenFile", "gone, and not needed: the host has its certificate")
		return
	}
	k.verdict("bootstrapTokenFile", err, "%s", k.cfg.BootstrapTokenFile)
}

func (k *checker) certificates() {
	if data, err := read(k.cfg.CACert); err != nil {
		k.found(Bad, "caCert", "%v", err)
	} else if roots := x509.NewCertPool(); !roots.AppendCertsFromPEM(data) {
		k.found(Bad, "caCert", "%s holds no PEM certificate", k.cfg.CACert)
	} else {
		k.roots = roots
		k.found(OK, "caCert", "%s", k.cfg.CACert)
	}
	data, err := read(k.cfg.ClientCert)
	if errors.Is(err, fs.ErrNotExist) && k.cfg.BootstrapTokenFile != "" {
		k.found(Warn, "clientCert", "%s does not exist; the agent enrols first", k.cfg.ClientCert)
		return
	}
	if err != nil {
		k.found(Bad, "clientCert", "%v", err)
		return
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		k.found(Bad, "clientCert", "%s holds no PEM certificate", k.cfg.ClientCert)
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		k.found(Bad, "clientCert", "%v", err)
		return
	}
	k.clientCert(cert)
}

func (k *checker) clientCert(cert *x509.Certificate) {
	const key = "clientCert"
	ends := cert.NotAfter.Format(time.RFC3339)
	switch {
	case cert.Subject.CommonName != k.cfg.MachineID:
		k.found(Bad, key, "it is for %q, machineID is %q: they must be equal", cert.Subject.CommonName, k.cfg.MachineID)
	case k.now.After(cert.NotAfter):
		k.found(Bad, key, "expired at %s: enrol the host again", ends)
	case k.now.Before(cert.NotBefore):
		k.found(Bad, key, "not valid before %s: is the clock right?", cert.NotBefore.Format(time.RFC3339))
	case k.now.Add(expirySoon).After(cert.NotAfter):
		k.found(Warn, key, "expires at %s and was not renewed at half of its life", ends)
	default:
		k.found(OK, key, "%s until %s", cert.Subject.CommonName, ends)
	}
}

func (k *checker) healthChecks() {
	const key = "healthChecksFile"
	if k.parts.HealthChecks == nil {
		k.found(Warn, key, "not checked")
		return
	}
	defects := k.parts.HealthChecks(k.cfg.HealthChecksFile, k.cfg.Intervals.ProbeMin)
	for _, d := range defects {
		k.found(Bad, key, "%s: every rollout would fail here", d)
	}
	if defects != nil {
		return
	}
	if _, err := os.Stat(k.cfg.HealthChecksFile); errors.Is(err, fs.ErrNotExist) {
		k.found(Warn, key, "%s does not exist: nothing proves that a new release is healthy", k.cfg.HealthChecksFile)
		return
	}
	k.found(OK, key, "%s", k.cfg.HealthChecksFile)
}

func (k *checker) backend() {
	if k.parts.Backend == nil {
		k.found(Warn, "backend", "not checked")
		return
	}
	current, err := k.parts.Backend(k.ctx)
	switch {
	case err != nil:
		k.found(Bad, "backend", "%s: %v", k.cfg.Backend, err)
	case current == "":
		k.found(Warn, "currentSystemPath", "%s does not exist: a first release has nothing to go back to", k.cfg.CurrentSystemPath)
	default:
		k.found(OK, "currentSystemPath", "the host runs %s", current)
	}
}

// controlPlane tries one TLS connection. The agent works without one, so that it fails is only a warning.
func (k *checker) controlPlane() {
	const key = "controlPlaneURL"
	u, err := url.Parse(k.cfg.ControlPlaneURL)
	if err != nil {
		k.found(Bad, key, "%v", err)
		return
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(k.ctx, reachTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: k.roots, MinVersion: tls.VersionTLS13}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		k.found(Warn, key, "not reached from here: %v", err)
		return
	}
	k.found(OK, key, "%s answers with a certificate of caCert", k.cfg.ControlPlaneURL)
}

// read reads a regular file of bounded length.
func read(path string) ([]byte, error) {
	if err := readable(path); err != nil {
		return nil, fmt.Errorf("config: %s: %w", filepath.Clean(path), err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if len(data) > maxRead {
		return nil, fmt.Errorf("config: %s is longer than %d bytes", path, maxRead)
	}
	return data, nil
}
