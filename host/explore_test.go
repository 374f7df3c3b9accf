package host_test

import (
	"encoding/binary"
	"flag"
	"testing"
	"time"

	"nixfleet/host"
)

// Seven events reach every state by every way and take a second or two; nine take a quarter of a minute.
var depthFlag = flag.Int("depth", 7, "how many events deep the exploration goes")

// The small alphabet of the exploration: two probes, two times around the end of the soak, three closures.
func alphabet() []host.Event {
	early, late := t0.Add(30*time.Second), t0.Add(90*time.Second)
	events := []host.Event{
		host.ActivationStarted{StartedAt: early},
		host.ActivationDeferred{Component: "systemd", DeferredAt: early},
		host.ActivationFailed{FailedAt: early},
		host.ActivationCompleted{ObservedCurrentClosure: newClosure, CompletedAt: early},
		host.ActivationCompleted{ObservedCurrentClosure: otherClosure, CompletedAt: early},
		host.ProbeTopologyDeclared{DeclaredAt: early},
		declares("a", host.Enforce), declares("a", host.Observe), declares("a", host.Enforce, "b", host.Enforce),
		host.ProbeObservedFirst{ProbeName: "a", ObservedAt: early},
		host.ProbeFailureFirst{ProbeName: "a", FirstFailedAt: early},
		host.SustainedFailureCrossed{FailedAt: late, PolicyApplied: host.Halt},
		host.SustainedFailureCrossed{FailedAt: late, PolicyApplied: host.RollbackAndHalt},
		host.RollbackFailed{FailedAt: late},
	}
	for _, closure := range []string{oldClosure, newClosure, ""} {
		events = append(events, host.Activate{CurrentClosureAtDispatch: closure, ReceivedAt: t0})
	}
	for _, closure := range []string{oldClosure, newClosure, otherClosure} {
		events = append(events, host.RollbackCompleted{RevertedToClosure: closure, CompletedAt: late})
	}
	for _, at := range []time.Time{early, late} {
		events = append(events, host.ConvergedReached{ConvergedAt: at, CurrentClosure: newClosure})
		for _, name := range []string{"a", "b"} {
			for _, status := range []host.Status{host.Pass, host.Fail} {
				events = append(events, host.ProbeResult{ProbeName: name, Status: status, ObservedAt: at, FailureReason: "reason"})
			}
		}
		events = append(events, host.ProbeResult{ProbeName: "a", Mode: host.Observe, Status: host.Fail, ObservedAt: at})
	}
	return append(events, host.ConvergedReached{ConvergedAt: late, CurrentClosure: otherClosure})
}

func declares(pairs ...any) host.ProbeTopologyDeclared {
	e := host.ProbeTopologyDeclared{DeclaredAt: t0}
	for i := 0; i < len(pairs); i += 2 {
		e.Probes = append(e.Probes, host.DeclaredProbe{ProbeName: pairs[i].(string), Mode: pairs[i+1].(host.Mode)})
	}
	return e
}

// TestEveryStateWithinReachKeepsTheInvariants explores breadth first, every event of the alphabet in every record that
// is reached, seqs aside. It goes on until nothing new is found or the bound is met, and says how far it came.
func TestEveryStateWithinReachKeepsTheInvariants(t *testing.T) {
	depthBound := *depthFlag
	if testing.Short() {
		depthBound = min(depthBound, 5)
	}
	const tooManyAttempts = host.MaxRollbackAttempts + 2 // beyond the third nothing changes but the number
	var (
		events   = alphabet()
		seen     = map[string]bool{}
		level    = []host.Record{pending()}
		states   = map[host.State]int{}
		steps    int
		complete bool
	)
	for depth := 0; depth < depthBound && !complete; depth++ {
		var next []host.Record
		for _, r := range level {
			for _, e := range events {
				steps++
				after, accepted := checkedStep(t, r, host.Stamped{Origin: host.Local, Seq: r.LastEventSeq + 1, Event: e}, policy())
				if !accepted || after.RollbackAttempts >= tooManyAttempts {
					continue
				}
				if key := stateKey(&after); !seen[key] {
					seen[key] = true
					states[after.State]++
					next = append(next, after)
				}
			}
		}
		level, complete = next, len(next) == 0
	}
	t.Logf("%d distinct records, %d steps, complete: %v; by state: %v", len(seen), steps, complete, states)
	for _, s := range host.States[1:] {
		if states[s] == 0 {
			t.Errorf("state %s was never reached", s)
		}
	}
}

// stateKey says all of a record but its seq and what no event changes.
func stateKey(r *host.Record) string {
	key := make([]byte, 0, 256)
	text := func(s string) { key = append(append(key, s...), 0) }
	when := func(t time.Time) {
		if !t.IsZero() {
			key = binary.AppendVarint(key, int64(t.Sub(t0)))
		}
		key = append(key, '|')
	}
	key = append(key, byte(r.State), byte(r.PolicyApplied), byte(r.RollbackAttempts))
	for _, s := range []string{r.CurrentClosureAtDispatch, r.CurrentClosure, r.RevertedTo, r.DeferredComponent} {
		text(s)
	}
	for _, at := range []time.Time{
		r.ActivationStartedAt, r.ActivationCompletedAt, r.ActivationFailedAt, r.ProbeObservedFirstAt, r.ProbeFailureFirstAt,
		r.SoakDueAt, r.ConvergedAt, r.FailedAt, r.RevertedAt,
	} {
		when(at)
	}
	if r.Declared != nil {
		key = append(key, 'D')
	}
	for _, d := range r.Declared {
		text(d.Name)
		key = append(key, byte(d.Mode))
	}
	for _, p := range r.Probes {
		text(p.Name)
		key = append(key, byte(p.Status), byte(p.Mode))
		when(p.LastObservedAt)
		when(p.LastPassAt)
		text(p.FailureReason)
	}
	return string(key)
}
