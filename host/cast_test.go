package host_test

import (
	"errors"
	"testing"
	"time"

	"nixfleet/host"
)

// The cast of the tests in this package.
const (
	oldClosure   = "1111-web-old"
	newClosure   = "2222-web-new"
	otherClosure = "3333-web-other"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pending is a dispatch that its host has not accepted yet.
func pending() host.Record {
	return host.Record{
		RolloutID: "stable@abc", Hostname: "web-01", Channel: "stable", TargetClosure: newClosure, DispatchedAt: t0,
	}
}

// policy is the signed policy of most tests: a minute of soak, two minutes of patience, then back.
func policy() host.Policy {
	return host.Policy{
		OnHealthFailure: host.RollbackAndHalt, SoakSeconds: 60, HasSoak: true,
		SustainedFailureSeconds: 120, ActivationTimeoutSeconds: 600,
	}
}

// step applies events in order with the seqs that follow the record's, and fails the test if one is refused.
func step(t *testing.T, r host.Record, events ...host.Event) host.Record {
	t.Helper()
	for _, e := range events {
		next, _, err := host.Step(r, host.Stamped{Seq: r.LastEventSeq + 1, Event: e}, t0, policy())
		if err != nil {
			t.Fatalf("%T in state %s: %v", e, r.State, err)
		}
		r = next
	}
	return r
}

// Events of an ordinary life, each acceptable in its place.
var (
	activate  = host.Activate{CurrentClosureAtDispatch: oldClosure, ReceivedAt: t0.Add(time.Second), PolicyHash: "5f70bf18"}
	started   = host.ActivationStarted{StartedAt: t0.Add(2 * time.Second), SwitchMethod: "systemd-run"}
	completed = host.ActivationCompleted{ObservedCurrentClosure: newClosure, CompletedAt: t0.Add(10 * time.Second)}
	deferred  = host.ActivationDeferred{Component: "systemd", DeferredAt: t0.Add(9 * time.Second)}
	failed    = host.ActivationFailed{ExitCode: 4, StderrTail: "no", FailedAt: t0.Add(11 * time.Second)}
	topology  = host.ProbeTopologyDeclared{DeclaredAt: t0.Add(12 * time.Second), Probes: []host.DeclaredProbe{{ProbeName: "http", Kind: "http"}}}
	first     = host.ProbeObservedFirst{ProbeName: "http", ObservedAt: t0.Add(13 * time.Second)}
	passes    = host.ProbeResult{ProbeName: "http", ObservedAt: t0.Add(14 * time.Second)}
	fails     = host.ProbeResult{ProbeName: "http", Status: host.Fail, ObservedAt: t0.Add(15 * time.Second), FailureReason: "status 500"}
	failFirst = host.ProbeFailureFirst{ProbeName: "http", FirstFailedAt: t0.Add(15 * time.Second)}
	sustained = host.SustainedFailureCrossed{FailedAt: t0.Add(140 * time.Second), SustainedDurationSecs: 125, FailingProbes: []string{"http"}, PolicyApplied: host.RollbackAndHalt}
	reverted  = host.RollbackCompleted{RevertedToClosure: oldClosure, CompletedAt: t0.Add(150 * time.Second)}
	notBack   = host.RollbackFailed{ExitCode: 1, StderrTail: "no", FailedAt: t0.Add(151 * time.Second), Attempt: 1}
	converged = host.ConvergedReached{ConvergedAt: t0.Add(70 * time.Second), CurrentClosure: newClosure}
)

// inState gives a record that came to a state by events.
func inState(t *testing.T, s host.State) host.Record {
	t.Helper()
	r := pending()
	switch s {
	case host.Pending:
		return r
	case host.Activating:
		return step(t, r, activate, started)
	case host.Deferred:
		return step(t, r, activate, started, deferred)
	case host.Soaking:
		return step(t, r, activate, started, completed, topology, first, passes)
	case host.Converged:
		return step(t, r, activate, started, completed, topology, first, passes, converged)
	case host.Failed:
		return step(t, r, activate, started, completed, topology, first, failFirst, fails, sustained)
	case host.Reverted:
		return step(t, r, activate, started, completed, topology, first, failFirst, fails, sustained, reverted)
	}
	t.Fatalf("state %s has no record", s)
	return r
}

// class names the class of a refusal, "" for none.
func class(err error) string {
	for _, c := range []error{host.ErrSeqRegression, host.ErrIllegal, host.ErrInvariant, host.ErrUnknownEvent} {
		if errors.Is(err, c) {
			return c.Error()
		}
	}
	if err != nil {
		return "of no class: " + err.Error()
	}
	return ""
}

// deepCopy gives a record that shares nothing with r.
func deepCopy(r host.Record) host.Record {
	if r.Declared != nil {
		r.Declared = append([]host.Declaration{}, r.Declared...)
	}
	probes := r.Probes
	r.Probes = nil
	for _, p := range probes {
		entry := *p
		r.Probes = append(r.Probes, &entry)
	}
	return r
}
