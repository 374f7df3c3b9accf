package probe

import (
	"context"
	"time"

	"nixfleet/host"
)

// Check is one kind's way to find out, ready to run. A nil error is a pass; the error's text is the failure reason.
// Run returns soon after ctx ends. Checks are immutable, and one check never runs twice at the same time.
type Check interface {
	Run(ctx context.Context) ([]host.SubResult, error)
}

// Declared is one probe as declared.
type Declared struct {
	Name     string
	Kind     string
	Mode     host.Mode
	Interval time.Duration
	Timeout  time.Duration // a run that takes longer has failed
	RunOnce  bool          // one run in a rollout, not one per interval
	Check    Check
}

// Declarations are all probes of a host, in order of name.
type Declarations struct{ Probes []Declared }

// Topology returns what ProbeTopologyDeclared carries: every probe, disabled ones too; never nil.
func (d Declarations) Topology() []host.DeclaredProbe {
	out := make([]host.DeclaredProbe, 0, len(d.Probes))
	for _, p := range d.Probes {
		out = append(out, host.DeclaredProbe{ProbeName: p.Name, Kind: p.Kind, Mode: p.Mode})
	}
	return out
}

// Defects returns what is wrong with the declarations, one line each, nil if nothing is. Each line is what the
// built-in probe fails with.
func (d Declarations) Defects() []string {
	for _, p := range d.Probes {
		if c, ok := p.Check.(defective); ok {
			return c.defects
		}
	}
	return nil
}

// BuiltIn is the name, and the kind, of the enforce probe that stands for declarations that cannot be relied on.
const BuiltIn = "declarations"

// Bounds of a declarations file.
const (
	// MaxFile is what the wire allows of a body: a file that large holds thousands of probes.
	MaxFile = 1 << 20
	// MaxProbes is what one ProbeTopologyDeclared may carry, the built-in probe included.
	MaxProbes = 256
	// MaxName is what the wire allows of a probe's name, in bytes.
	MaxName = 128
	// DefaultInterval holds where a probe declares none.
	DefaultInterval = 30 * time.Second
	// MaxInterval is a day: a probe that reports less often could not end any soak in use.
	MaxInterval = 24 * time.Hour
	// MaxTimeout bounds one run, so that a probe that hangs fails while people still wait.
	MaxTimeout = 5 * time.Minute
	// DefaultFloor is the smallest interval a probe may declare, so that no declaration can make a host busy with
	// asking whether it is well.
	DefaultFloor = 5 * time.Second
)
