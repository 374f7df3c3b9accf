package config

import (
	"errors"
	"time"
)

// Config is every setting of the agent, valid if it came from Load or passed Validate.
type Config struct {
	ControlPlaneURL    string // https://host[:port], no path
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

// Backends are the names that the key backend takes.
var Backends = []string{"directory"}

// ErrConfig is the class of every refusal.
var ErrConfig = errors.New("config: refused")
