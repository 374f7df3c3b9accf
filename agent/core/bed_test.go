package core

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"nixfleet/clock"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
	"nixfleet/wire"
)

const (
	v1 = "00000000000000000000000000000001-v1"
	v2 = "00000000000000000000000000000002-v2"
	v3 = "00000000000000000000000000000003-v3"
	r1 = "stable@aaa"
	r2 = "stable@bbb"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// bed is a core in virtual time with a journal in memory.
type bed struct {
	t       *testing.T
	core    *Core
	now     clock.Reading
	frames  [][]byte
	effects []host.Effect
	runs    string // what current-system says
	key     ed25519.PrivateKey
	keys    *trust.File
}

func newBed(t *testing.T) *bed {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	b := &bed{t: t, runs: v1, now: clock.Reading{Wall: began, Boot: time.Hour, BootID: "boot-1"}, key: ed25519.NewKeyFromSeed(seed)}
	pub, err := trust.PublicKey(b.key)
	if err != nil {
		t.Fatal(err)
	}
	b.keys = &trust.File{CIRelease: trust.Slot{Current: &pub}}
	b.core = New(Options{Hostname: "web-1", Code: "test", Epoch: "epoch-1"})
	return b
}

// give hands one input to the core, commits, and checks that a reopened journal holds the same.
func (b *bed) give(in Input) error {
	b.t.Helper()
	commit := b.core.Handle([]Input{in}, b.now)
	if commit.Frame != nil {
		b.frames = append(b.frames, commit.Frame)
	}
	b.core.Applied(commit)
	b.effects = append(b.effects, commit.Effects...)
	return commit.Results[0]
}

func (b *bed) must(in Input) {
	b.t.Helper()
	if err := b.give(in); err != nil {
		b.t.Fatalf("%T: %v", in, err)
	}
}

func (b *bed) refused(in Input, class error) {
	b.t.Helper()
	before := b.core.Records()
	if err := b.give(in); !errors.Is(err, class) {
		b.t.Fatalf("%T: got %v, want %v", in, err, class)
	}
	if !reflect.DeepEqual(before, b.core.Records()) {
		b.t.Fatalf("%T was refused and changed something", in)
	}
}

func (b *bed) pass(d time.Duration) {
	b.now.Wall, b.now.Boot = b.now.Wall.Add(d), b.now.Boot+d
}

func (b *bed) reboot(down time.Duration) {
	b.now = clock.Reading{Wall: b.now.Wall.Add(down), Boot: 10 * time.Second, BootID: b.now.BootID + "'"}
}

func (b *bed) reading() Current { return Current{Closure: b.runs, Began: b.now} }

func (b *bed) tick() {
	b.t.Helper()
	b.must(AdvanceTick{Current: b.reading()})
}

func (b *bed) event(id string, e host.Event) {
	b.t.Helper()
	b.must(HostEvent{RolloutID: id, Event: e})
}

// terms are what a ticket says beyond the ordinary.
type terms struct {
	host, target string
	wave         uint32
	soak         uint64
	policy       host.OnFailure
	signedAt     time.Time
	key          ed25519.PrivateKey
}

func (b *bed) ticket(id string, change func(*terms)) (trust.Verified[*fleet.Ticket], error) {
	b.t.Helper()
	w := terms{host: "web-1", target: v2, soak: 60, policy: host.RollbackAndHalt, signedAt: b.now.Wall.Truncate(time.Second), key: b.key}
	if change != nil {
		change(&w)
	}
	rid, err := fleet.ParseRolloutID(id)
	if err != nil {
		b.t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "hostname": w.host, "rolloutId": id, "channel": rid.Channel(), "wave": w.wave,
		"targetClosure": w.target, "soakSeconds": w.soak, "freshnessSeconds": 3600,
		"policy": map[string]any{
			"onHealthFailure": w.policy.String(), "sustainedFailureSeconds": 120, "activationTimeoutSeconds": 600, "healthGate": map[string]any{},
		},
		"fleetHash": fmt.Sprintf("%064d", 1), "signedAt": w.signedAt.Format(time.RFC3339),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	sig, err := trust.SignDocument(w.key, raw)
	if err != nil {
		b.t.Fatal(err)
	}
	return trust.VerifyTicket(raw, sig, b.keys, b.now.Wall, 0)
}

// turn is a dispatch that agrees with its ticket.
func (b *bed) turn(id string, change func(*terms)) Dispatch {
	b.t.Helper()
	ticket, err := b.ticket(id, change)
	if err != nil {
		b.t.Fatal(err)
	}
	v := ticket.Value()
	return Dispatch{
		Message: wire.Dispatch{Hostname: v.Hostname, RolloutID: id, TargetClosure: v.TargetClosure, Wave: v.Wave, HasWave: true, EnqueuedAt: b.now.Wall, SoakDueAt: b.now.Wall, TicketHash: trust.PolicyHash(v)},
		Ticket:  ticket, Current: b.reading(), Keys: b.keys.Fingerprint(),
	}
}

// switched takes the rollout to Soaking on its target, with one enforce probe declared.
func (b *bed) switched(id, target string) {
	b.t.Helper()
	b.event(id, host.ActivationStarted{StartedAt: b.now.Wall, SwitchMethod: "test"})
	b.pass(time.Second)
	b.runs = target
	b.event(id, host.ActivationCompleted{ObservedCurrentClosure: target, CompletedAt: b.now.Wall})
	b.event(id, host.ProbeTopologyDeclared{Probes: []host.DeclaredProbe{{ProbeName: "http", Kind: "http", Mode: host.Enforce}}, DeclaredAt: b.now.Wall})
}

func (b *bed) probe(id string, status host.Status) {
	b.t.Helper()
	e := host.ProbeResult{ProbeName: "http", Mode: host.Enforce, Status: status, ObservedAt: b.now.Wall}
	if status == host.Fail {
		e.FailureReason = "refused"
	}
	b.event(id, e)
}

func (b *bed) state(id string, want host.State) host.Record {
	b.t.Helper()
	r, ok := b.core.Records()[id]
	if !ok || r.State != want {
		b.t.Fatalf("%s: %+v, want state %s", id, r, want)
	}
	return r
}

func (b *bed) intent() Intent {
	b.t.Helper()
	in := b.core.View().Intent
	if in == nil {
		b.t.Fatal("no switch is owed")
	}
	return *in
}

// reopen ends the process: what the journal has is all there is. It must be all there was.
func (b *bed) reopen() {
	b.t.Helper()
	re, err := Reopen(Options{Hostname: "web-1", Code: "test", Epoch: "epoch-2"}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range b.frames {
		if err := re.Frame(f); err != nil {
			b.t.Fatalf("%v in %s", err, f)
		}
	}
	c, differs := re.Core(false)
	if differs != 0 {
		b.t.Fatalf("%d steps differ", differs)
	}
	if !reflect.DeepEqual(c.Records(), b.core.Records()) {
		b.t.Fatalf("reopened:\n%+v\nwas:\n%+v", c.Records(), b.core.Records())
	}
	again, err := Reopen(Options{Hostname: "web-1", Code: "test"}, c.Snapshot())
	if err != nil {
		b.t.Fatal(err)
	}
	from, _ := again.Core(false)
	if !reflect.DeepEqual(from.Records(), c.Records()) || string(from.Snapshot()) != string(c.Snapshot()) {
		b.t.Fatalf("a snapshot loses something:\n%s\n%s", from.Snapshot(), c.Snapshot())
	}
	b.core = c
}
