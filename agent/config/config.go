package config

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Config is every setting of the agent, valid if it came from Load without an error.
type Config struct {
	ControlPlaneURL    string // https://host[:port], no path, no slash at the end
	MachineID          string // the host's name; equals the CN of its certificate
	StateDir           string
	TrustFile          string
	HealthChecksFile   string
	CACert             string // the roots of the control plane's certificate
	ClientCert         string
	SSHHostKeyFile     string        // signs events; also the key of ClientCert
	BootstrapTokenFile string        // "" if the host is enrolled already
	Backend            string        // one of Backends
	CurrentSystemPath  string        // the symlink that says what the host runs
	DirectoryRoot      string        // directory backend: profile, pins, store and units live below it
	ReleasesDir        string        // directory backend: where releases are copied from, "" if the store has them all
	MaxSignatureAge    time.Duration // 0: only the ticket's own freshness counts
	Intervals          Intervals
	MetricsListen      string // loopback address:port, "" for off
	LogLevel           string // debug, info, warn, error
	LogFormat          string // text, json
}

// Intervals are the agent's rhythms. All are positive.
type Intervals struct {
	LongPoll     time.Duration // how long a dispatch poll may wait at the control plane
	Heartbeat    time.Duration
	Advance      time.Duration // tick that times soaks and failures
	Outbound     time.Duration // retry of the outbound queue without a wake
	ManifestPoll time.Duration // only against a control plane without tickets
	ProbeMin     time.Duration // the smallest interval that a probe may declare
}

// DefaultIntervals are those of a real host.
var DefaultIntervals = Intervals{
	LongPoll: 60 * time.Second, Heartbeat: 60 * time.Second, Advance: 5 * time.Second,
	Outbound: 15 * time.Second, ManifestPoll: 30 * time.Second, ProbeMin: 5 * time.Second,
}

// Backends are the names that the key backend takes.
var Backends = []string{"directory"}

// ErrConfig is the class of every refusal.
var ErrConfig = errors.New("config: refused")

// RequireFiles refuses a start without the files it needs: they must be regular files that this process can open.
// The health checks may be missing, which declares none, and so may the certificate while there is a token to
// enrol with.
func (c *Config) RequireFiles() error {
	var problems []error
	for _, f := range c.neededFiles() {
		if err := readable(f.path); err != nil {
			problems = append(problems, fmt.Errorf("%w: %s: %q cannot be read, want %s: %w", ErrConfig, f.key, f.path, f.want, err))
		}
	}
	return errors.Join(problems...)
}

// neededFile is a file that must be there.
type neededFile struct{ key, path, want string }

func (c *Config) neededFiles() []neededFile {
	files := []neededFile{
		{"trustFile", c.TrustFile, "the keys that sign intent, as JSON"},
		{"caCert", c.CACert, "the PEM roots of the control plane's certificate"},
		{"sshHostKeyFile", c.SSHHostKeyFile, "the host's Ed25519 key in OpenSSH form"},
	}
	if c.BootstrapTokenFile == "" {
		return append(files, neededFile{"clientCert", c.ClientCert, "this host's PEM certificate, or a bootstrapTokenFile to enrol with"})
	}
	if _, err := os.Stat(c.ClientCert); err == nil {
		return append(files, neededFile{"clientCert", c.ClientCert, "this host's PEM certificate"})
	}
	return append(files, neededFile{"bootstrapTokenFile", c.BootstrapTokenFile, "the enrolment token"})
}

var errNotRegular = errors.New("not a regular file")

func readable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
