package wire_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"nixfleet/host"
	"nixfleet/wire"
)

var rewrite = flag.Bool("rewrite", false, "write the messages into testdata/messages.txt")

func at(seconds int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// goldenEvents is one event of every kind with every field.
var goldenEvents = []host.Event{
	host.Activate{CurrentClosureAtDispatch: "1111-web-old", ReceivedAt: at(1), PolicyHash: "5f70bf18", Wave: 2, HasWave: true, DispatchedAt: at(0), TargetClosure: "2222-web-new", SoakDueAt: at(60)},
	host.ActivationStarted{StartedAt: at(2), SwitchMethod: "systemd-run"},
	host.ActivationCompleted{ObservedCurrentClosure: "2222-web-new", CompletedAt: at(10)},
	host.ActivationDeferred{Component: "systemd", DeferredAt: at(9)},
	host.ActivationFailed{ExitCode: -3, StderrTail: "error: no\n\tsuch \"thing\"", FailedAt: at(11)},
	host.ProbeTopologyDeclared{Probes: []host.DeclaredProbe{{ProbeName: "http", Kind: "http"}, {ProbeName: "disk", Kind: "exec", Mode: host.Observe}}, DeclaredAt: at(12)},
	host.ProbeObservedFirst{ProbeName: "http", ObservedAt: at(13)},
	host.ProbeResult{
		ProbeName: "cis", Status: host.Fail, ObservedAt: at(14).Add(250 * time.Millisecond), FailureReason: "2 of 9 controls fail",
		SubResults: []host.SubResult{
			{ControlID: "C-1", Status: host.Fail, Framework: "iso27001", Article: "A.5"},
			{ControlID: "C-2", Framework: "custom", EffectiveMode: host.Observe, OverrideReason: "not yet"},
		},
	},
	host.ProbeFailureFirst{ProbeName: "cis", FirstFailedAt: at(14)},
	host.SustainedFailureCrossed{FailedAt: at(140), SustainedDurationSecs: 126, FailingProbes: []string{"cis"}, PolicyApplied: host.RollbackAndHalt},
	host.RollbackCompleted{RevertedToClosure: "1111-web-old", CompletedAt: at(150)},
	host.RollbackFailed{ExitCode: 1, StderrTail: "busy", FailedAt: at(145), Attempt: 1},
	host.ConvergedReached{ConvergedAt: at(70), CurrentClosure: "2222-web-new"},
}

func goldenRecord() host.Record {
	return host.Record{
		RolloutID: "stable@abc", Hostname: "web-01", Channel: "stable", Wave: 2, State: host.Reverted, TargetClosure: "2222-web-new",
		CurrentClosureAtDispatch: "1111-web-old", CurrentClosure: "1111-web-old", RevertedTo: "1111-web-old", PolicyHash: "5f70bf18",
		DispatchedAt: at(0), DispatchAckedAt: at(1), ActivationStartedAt: at(2), ActivationCompletedAt: at(10), ActivationFailedAt: at(11),
		DeferredComponent: "systemd", ProbeObservedFirstAt: at(13), ProbeFailureFirstAt: at(14), SoakDueAt: at(60), ConvergedAt: at(70),
		FailedAt: at(140), PolicyApplied: host.RollbackAndHalt, RevertedAt: at(150), RollbackAttempts: 1, SupersededBy: "edge@def",
		Declared: []host.Declaration{{Name: "cis"}, {Name: "disk", Mode: host.Observe}},
		Probes: []*host.Probe{
			{Name: "cis", Status: host.Fail, LastObservedAt: at(14), LastPassAt: at(13), FailureReason: "2 of 9 controls fail"},
			{Name: "disk", Mode: host.Observe, LastObservedAt: at(14), LastPassAt: at(14)},
		},
		LastEventSeq: 12,
	}
}

// goldenMessages writes every message there is, under its name.
func goldenMessages() []byte {
	var out bytes.Buffer
	say := func(name string, data []byte) { fmt.Fprintf(&out, "# %s\n%s\n\n", name, data) }
	for i, e := range goldenEvents {
		say("event "+wire.EventKind(e), wire.AppendEvent(nil, uint64(i+1), e))
	}
	say("event of a recording", wire.AppendNamedEvent(nil, host.Local, 1, goldenEvents[9]))
	r := goldenRecord()
	pending := host.Record{RolloutID: r.RolloutID, Hostname: r.Hostname, Channel: r.Channel, TargetClosure: r.TargetClosure, DispatchedAt: r.DispatchedAt}
	say("record of which everything is known", wire.AppendRecord(nil, &r))
	say("record of which nothing is known yet", wire.AppendRecord(nil, &pending))
	changed := goldenRecord()
	changed.DeferredComponent, changed.Declared, changed.LastEventSeq = "", []host.Declaration{{Name: "disk"}}, 13
	changed.Probes = []*host.Probe{{Name: "cis", LastObservedAt: at(20), LastPassAt: at(20)}}
	say("delta of a record", wire.RecordDelta(nil, &r, &changed))
	say("policy, captured", wire.AppendPolicy(nil, &host.Policy{OnHealthFailure: host.Halt, SoakSeconds: 60, HasSoak: true, SustainedFailureSeconds: 120, ActivationTimeoutSeconds: 600, HealthGate: []byte("{}")}))
	say("policy of a rollout", wire.AppendPolicy(nil, &host.Policy{OnHealthFailure: host.RollbackAndHalt, WaveSoaks: []uint64{60, 600}, SustainedFailureSeconds: 120, ActivationTimeoutSeconds: 600}))
	env := wire.Envelope{Hostname: "web-01", RolloutID: "stable@abc", Seq: 13, Event: goldenEvents[12], Epoch: "00112233445566778899aabbccddeeff", After: 9, HasAfter: true, Signature: "9f86d081"}
	say("envelope", env.Append(nil))
	say("batch", wire.AppendBatch(nil, [][]byte{env.Append(nil)}))
	say("answer to a batch", wire.EncodeBatchResults([]wire.BatchResult{
		{RolloutID: "stable@abc", Seq: 13, Status: 204},
		{RolloutID: "stable@abc", Seq: 15, Status: 409, ReplayFrom: 13, HasReplayFrom: true, Error: wire.ErrorGap},
		{RolloutID: "stable@abc", Seq: 16, Status: wire.StatusSkipped},
	}))
	say("problem", wire.Problem{Error: wire.ErrorFork, ReplayFrom: 13, HasReplayFrom: true}.Encode())
	sayConversation(say, &r)
	return out.Bytes()
}

func sayConversation(say func(string, []byte), r *host.Record) {
	dispatch := wire.Dispatch{Hostname: "web-01", RolloutID: "stable@abc", TargetClosure: "2222-web-new", SoakDueAt: at(60), EnqueuedAt: at(0), Wave: 2, HasWave: true, TicketHash: "5f70bf18"}
	say("dispatch", dispatch.Encode())
	beat := wire.Heartbeat{
		Hostname: "web-01", RolloutID: "stable@abc", CurrentClosure: "2222-web-new", At: at(60), AgentVersion: "1.0.0",
		Epoch: "00112233445566778899aabbccddeeff", BootID: "b0", UptimeSecs: 3600, Instance: "i0",
		LastEventSeq: map[string]uint64{"stable@abc": 12, "edge@def": 3}, AckedSeq: map[string]uint64{"stable@abc": 9},
		OutboxDepth: 3, DeadLetters: 1, Reverted: []wire.RevertedClosure{{Channel: "stable", Closure: "0000-web-bad"}},
		Probes: map[string]host.Status{"http": host.Pass, "cis": host.Fail}, Drifted: "stable@aaa", Degraded: "journal: no space left",
		Refused: &wire.RefusedDispatch{RolloutID: "edge@def", Reason: "the ticket is stale"},
	}
	say("heartbeat", beat.Encode())
	original := wire.Heartbeat{Hostname: "web-02", CurrentClosure: "1111-web-old", At: at(60)}
	say("heartbeat of an original agent", original.Encode())
	answer := wire.HeartbeatAnswer{
		ReceivedAt: at(61), Bootstrap: []wire.Snapshot{wire.SnapshotOf(r)}, ReplayFrom: map[string]uint64{"stable@abc": 9}, WantRecord: []string{"edge@def"},
	}
	say("answer to a heartbeat", answer.Encode())
	message := wire.RecordMessage{Hostname: "web-01", RolloutID: "stable@abc", Epoch: "00112233445566778899aabbccddeeff", At: at(200), Signature: "9f86d081"}
	say("record message without a record", message.Encode())
	message.Record = r
	say("record message", message.Encode())
	enroll := wire.EnrollRequest{Token: []byte(`{"version":1}`), CSRPEM: "-----BEGIN CERTIFICATE REQUEST-----\n"}
	say("enrolment", enroll.Encode())
	renew := wire.RenewRequest{CSRPEM: "-----BEGIN CERTIFICATE REQUEST-----\n"}
	say("renewal", renew.Encode())
	cert := wire.EnrollAnswer{CertPEM: "-----BEGIN CERTIFICATE-----\n", NotAfter: at(90 * 24 * 3600)}
	say("answer to an enrolment or a renewal", cert.Encode())
}

// TestMessagesAreSpelledAsBefore compares every message with testdata/messages.txt: agents and control planes of other
// versions read these bytes, so a difference there is a change of the protocol.
func TestMessagesAreSpelledAsBefore(t *testing.T) {
	const file = "testdata/messages.txt"
	got := goldenMessages()
	if *rewrite {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the messages are spelled differently (go test ./wire -rewrite, then look at the diff):\n%s", got)
	}
}

func TestHotEncodersAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	r := goldenRecord()
	env := wire.Envelope{Hostname: "web-01", RolloutID: "stable@abc", Seq: 13, Event: goldenEvents[7]}
	for name, encode := range map[string]func(){
		"event":    func() { buf = wire.AppendEvent(buf[:0], 7, goldenEvents[7]) },
		"envelope": func() { buf = env.Append(buf[:0]) },
		"record":   func() { buf = wire.AppendRecord(buf[:0], &r) },
		"delta":    func() { buf = wire.RecordDelta(buf[:0], &r, &r) },
	} {
		if n := testing.AllocsPerRun(100, encode); n > 1 { // one: an event is copied out of its interface
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	r := goldenRecord()
	env := wire.Envelope{Hostname: "web-01", RolloutID: "stable@abc", Seq: 13, Event: goldenEvents[7], Epoch: "00112233445566778899aabbccddeeff"}
	buf := env.Append(nil)
	b.Run("AppendEvent", func(b *testing.B) {
		for b.Loop() {
			buf = wire.AppendEvent(buf[:0], 7, goldenEvents[7])
		}
	})
	b.Run("AppendRecord", func(b *testing.B) {
		for b.Loop() {
			buf = wire.AppendRecord(buf[:0], &r)
		}
	})
	message := env.Append(nil)
	b.Run("DecodeEnvelope", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wire.DecodeEnvelope(message); err != nil {
				b.Fatal(err)
			}
		}
	})
}
