package controlplane

import (
	"time"

	"nixfleet/rollout"
)

// Config is every setting of a control plane. What a file may say of it is read by package controlplane/config.
type Config struct {
	Listen         string // address:port of the TLS listener
	MetricsListen  string // loopback address:port of /healthz, /readyz and /metrics, "" for off
	Database       string // path of the SQLite file
	DocumentsDir   string // the published layout
	TrustFile      string // the keys that sign intent
	ServerCert     string // PEM
	ServerKey      string // PEM, 0600
	AgentCACert    string // PEM roots of agents
	OperatorCACert string // PEM roots of operators
	Planner        rollout.Settings
	DocumentsPoll  time.Duration // between looks at the documents
	PlanInterval   time.Duration // between looks at what time alone changes
}

// DefaultIntervals of the control plane: a release is seen within ten seconds, a silent host within one.
const (
	DefaultDocumentsPoll = 10 * time.Second
	DefaultPlanInterval  = time.Second
)
