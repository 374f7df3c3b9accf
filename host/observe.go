package host

import (
	"slices"
	"strings"
	"time"
)

func (r *Record) topologyDeclared(in *Stamped, e *ProbeTopologyDeclared, out *Effects) error {
	if err := r.must(in, Soaking); err != nil {
		return err
	}
	if len(e.Probes) > MaxProbes {
		return invariant("%d probes declared, at most %d allowed", len(e.Probes), MaxProbes)
	}
	r.Declared = declare(e.Probes)
	r.Probes = keepDeclared(r.Probes, r.Declared)
	r.endStreak()
	r.emit(in, out, true)
	return nil
}

// declare sorts a topology by name; of duplicate names the last wins.
func declare(probes []DeclaredProbe) []Declaration {
	out := make([]Declaration, len(probes))
	for i, p := range probes {
		out[i] = Declaration{Name: p.ProbeName, Mode: p.Mode}
	}
	slices.SortStableFunc(out, func(a, b Declaration) int { return strings.Compare(a.Name, b.Name) })
	kept := out[:0]
	for i, d := range out {
		if i+1 < len(out) && out[i+1].Name == d.Name {
			continue
		}
		kept = append(kept, d)
	}
	return kept
}

// keepDeclared drops results of probes that are declared no more; the others keep the mode of their own result.
func keepDeclared(probes []*Probe, declared []Declaration) []*Probe {
	if len(probes) == 0 {
		return nil
	}
	kept := make([]*Probe, 0, min(len(probes), len(declared)))
	for _, d := range declared {
		if i, ok := findProbe(probes, d.Name); ok {
			kept = append(kept, probes[i])
		}
	}
	return kept
}

// endStreak applies the streak rule: with no enforce probe failing there is no streak.
func (r *Record) endStreak() {
	for _, p := range r.Probes {
		if p.failing() {
			return
		}
	}
	r.ProbeFailureFirstAt = time.Time{}
}

func (r *Record) probeObservedFirst(in *Stamped, e *ProbeObservedFirst, out *Effects) error {
	if err := r.must(in, Soaking); err != nil {
		return err
	}
	if r.ProbeObservedFirstAt.IsZero() {
		r.ProbeObservedFirstAt = e.ObservedAt
	}
	r.emit(in, out, false)
	return nil
}

func (r *Record) probeResult(in *Stamped, e *ProbeResult, out *Effects) error {
	if err := r.must(in, Soaking); err != nil {
		return err
	}
	i, found := findProbe(r.Probes, e.ProbeName)
	if !found && len(r.Probes) >= MaxProbes {
		return invariant("%d probes recorded already, at most %d allowed", len(r.Probes), MaxProbes)
	}
	r.Probes = withResult(r.Probes, i, found, e)
	if e.Mode == Enforce && e.Status == Fail && r.ProbeFailureFirstAt.IsZero() {
		r.ProbeFailureFirstAt = e.ObservedAt
	}
	if !r.ProbeFailureFirstAt.IsZero() {
		r.endStreak()
	}
	r.emit(in, out, false)
	return nil
}

// withResult returns the probes with e's result at i, in the place of the entry there if that is the probe's own. Old
// entries are shared, never written.
func withResult(probes []*Probe, i int, found bool, e *ProbeResult) []*Probe {
	name, passedAt, reason := e.ProbeName, e.ObservedAt, ""
	if found {
		name = probes[i].Name // keeps one copy of the name for the life of the record
	}
	if e.Status == Fail {
		passedAt, reason = time.Time{}, e.FailureReason
		if found {
			passedAt = probes[i].LastPassAt
		}
	}
	p := &Probe{
		Name: name, Status: e.Status, Mode: e.Mode, LastObservedAt: e.ObservedAt, LastPassAt: passedAt, FailureReason: reason,
	}
	if found {
		out := make([]*Probe, len(probes))
		copy(out, probes)
		out[i] = p
		return out
	}
	out := make([]*Probe, len(probes)+1)
	copy(out, probes[:i])
	out[i] = p
	copy(out[i+1:], probes[i:])
	return out
}

// findProbe returns where name is, or belongs, in the sorted probes.
func findProbe(probes []*Probe, name string) (int, bool) {
	low, high := 0, len(probes)
	for low < high {
		mid := int(uint(low+high) / 2)
		switch c := strings.Compare(probes[mid].Name, name); {
		case c == 0:
			return mid, true
		case c < 0:
			low = mid + 1
		default:
			high = mid
		}
	}
	return low, false
}

func (r *Record) probeFailureFirst(in *Stamped, out *Effects) error {
	if err := r.must(in, Soaking); err != nil {
		return err
	}
	r.emit(in, out, false)
	return nil
}
