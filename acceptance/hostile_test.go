package acceptance_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/agent/client"
	"nixfleet/agent/core"
	"nixfleet/host"
	"nixfleet/internal/fleettest"
	"nixfleet/release"
	"nixfleet/trust"
	"nixfleet/wire"
)

// untouched fails if the host has anything to do with a rollout, or runs something else.
func untouched(t *testing.T, h *fleettest.Host, rolloutID, runs string, never ...string) {
	t.Helper()
	if got := h.States(rolloutID); got != "" {
		t.Errorf("%s went to %s in %s", h.Name, got, rolloutID)
	}
	if got := h.Runs(); got != runs {
		t.Errorf("%s runs %s, want %s", h.Name, got, runs)
	}
	for _, closure := range never {
		if h.Had(closure) {
			t.Errorf("%s was given %s", h.Name, closure)
		}
	}
}

func TestADispatchThatSaysWhatItsTicketDoesNotIsRefusedAndReported(t *testing.T) {
	t.Parallel()
	s, l, v1 := lying(t)
	a := s.Host("a")
	v2, evil := s.Build("v2"), s.Build("evil")
	lies := []struct {
		name string
		tell func(d *wire.Dispatch)
		why  error
	}{
		{"target", func(d *wire.Dispatch) { d.TargetClosure = evil }, core.ErrWrongTicket},
		{"wave", func(d *wire.Dispatch) { d.Wave++ }, core.ErrWrongTicket},
		{"hash", func(d *wire.Dispatch) { d.TicketHash = strings.Repeat("0", 64) }, core.ErrWrongTicket},
		{"host", func(d *wire.Dispatch) { d.Hostname = "b" }, core.ErrWrongHost},
		{"ticket-of-another-host", func(d *wire.Dispatch) { l.forge(d.RolloutID, l.published(d.RolloutID, "b")) }, core.ErrWrongHost},
		{"ticket-of-another-rollout", func(d *wire.Dispatch) { l.forge(d.RolloutID, l.published("stable@target", "a")) }, core.ErrWrongTicket},
	}
	for _, lie := range lies {
		id := s.Publish(fleettest.Release{Ref: lie.name, Closure: v2})
		d := l.honest(id)
		lie.tell(&d)
		l.say(d)
		l.untilRefused(id, lie.why)
		untouched(t, a, id, v1, v2, evil)
	}
	// After all of it the truth is still heard.
	id := s.Publish(fleettest.Release{Ref: "truth", Closure: v2})
	l.say(l.honest(id))
	a.UntilState(id, host.Converged)
	if a.Runs() != v2 || a.Had(evil) {
		t.Errorf("it runs %s, want %s", a.Runs(), v2)
	}
}

func TestATicketThatIsNotSignedFreshOrNewestIsRefusedByItsOwnClassOfError(t *testing.T) {
	t.Parallel()
	s := fleettest.New(t, "a", "b")
	l := lie(s)
	a := s.Host("a")
	v1, v2 := s.Build("v1"), s.Build("v2")
	now := s.Clock.Now().Wall
	// Kept as they were signed: publishing refreshes what came before.
	keep := func(ref string, at time.Time) (id string, doc release.Document) {
		t.Helper()
		id = s.Publish(fleettest.Release{Ref: ref, Closure: v2, At: at})
		doc = l.published(id, "a")
		l.forge(id, doc)
		return id, doc
	}
	stale, _ := keep("stale", now.Add(-2*time.Hour))
	rejected, _ := keep("rejected", now.Add(-30*time.Minute))
	older, _ := keep("older", now.Add(-10*time.Minute))
	first := s.Publish(fleettest.Release{Ref: "v1", Closure: v1, At: now})
	l.say(l.honest(first))
	a.Start()
	a.UntilState(first, host.Converged)
	stranger, doc := keep("stranger", now)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if doc.Sig, err = trust.SignDocument(key, doc.Raw); err != nil {
		t.Fatal(err)
	}
	l.forge(stranger, doc)
	changed, doc := keep("changed", now)
	doc.Raw = []byte(strings.Replace(string(doc.Raw), v2, v1, 1))
	l.forge(changed, doc)
	huge, doc := keep("huge", now)
	doc.Raw = append(doc.Raw, strings.Repeat(" ", 1<<20)...)
	l.forge(huge, doc)
	garbage, doc := keep("garbage", now)
	doc.Raw = []byte("<html>")
	l.forge(garbage, doc)
	truth, _ := keep("truth", now)
	future, _ := keep("future", now.Add(10*time.Minute))

	for _, lie := range []struct {
		id  string
		why error
	}{
		{stranger, trust.ErrBadSignature},
		{changed, trust.ErrBadSignature},
		{garbage, trust.ErrParse},
		{huge, client.ErrTransport},
		{stale, trust.ErrStale},
		{future, trust.ErrFutureDated},
		{older, trust.ErrDowngrade},
	} {
		l.say(l.dispatchFor(lie.id, v2))
		l.untilRefused(lie.id, lie.why)
		untouched(t, a, lie.id, v1, v2)
	}
	rejectBefore(t, a, now.Add(-20*time.Minute))
	l.say(l.dispatchFor(rejected, v2))
	l.untilRefused(rejected, trust.ErrRejectedBefore)
	untouched(t, a, rejected, v1, v2)

	l.say(l.dispatchFor(truth, v2))
	a.UntilState(truth, host.Converged)
}

// dispatchFor is a dispatch that fits a ticket of the first wave.
func (l *liar) dispatchFor(rolloutID, target string) wire.Dispatch {
	now := l.s.Clock.Now().Wall
	return wire.Dispatch{Hostname: "a", RolloutID: rolloutID, TargetClosure: target, EnqueuedAt: now, SoakDueAt: now}
}

// rejectBefore has the host reject what was signed before a moment.
func rejectBefore(t *testing.T, h *fleettest.Host, at time.Time) {
	t.Helper()
	data, err := os.ReadFile(h.TrustFile())
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	file["ciReleaseKey"].(map[string]any)["rejectBefore"] = at.UTC().Format(time.RFC3339)
	if data, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.TrustFile()+".new", data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.TrustFile()+".new", h.TrustFile()); err != nil {
		t.Fatal(err)
	}
}

func TestAShortenedSoakIsSoakedInFull(t *testing.T) {
	t.Parallel()
	s, l, _ := lying(t)
	a := s.Host("a")
	const soak = 3
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: s.Build("v2"), Soak: soak})
	d := l.honest(id)
	d.SoakDueAt = d.SoakDueAt.Add(-time.Hour)
	l.say(d)
	a.UntilState(id, host.Converged)
	_, records, err := a.Journal()
	if err != nil {
		t.Fatal(err)
	}
	r := records[id]
	if soaked := r.ConvergedAt.Sub(r.ActivationCompletedAt); soaked < soak*time.Second {
		t.Errorf("it soaked for %s, want %d s", soaked, soak)
	}
}

func TestAFinishedRolloutThatIsReplayedAndForgedAnswersChangeNothing(t *testing.T) {
	t.Parallel()
	s, l, v1 := lying(t)
	a := s.Host("a")
	v2, evil := s.Build("v2"), s.Build("evil")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2})
	before, records, err := a.Journal()
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string) {
		t.Helper()
		after, now, err := a.Journal()
		if err != nil {
			t.Fatal(err)
		}
		old, cur := records["stable@v1"], now["stable@v1"]
		if !slices.Equal(before, after) || len(now) != len(records) || !old.Equal(&cur) {
			t.Errorf("%s: the journal changed", what)
		}
		untouched(t, a, id, v1, v2, evil)
	}

	// The rollout it has finished, again and again.
	n := l.served()
	l.say(l.honest("stable@v1"))
	s.Until("the finished rollout was served", func(context.Context) (bool, string, error) { return l.served() > n, "", nil })
	l.untilHeard()
	same("a finished rollout")
	l.change(func() { l.dispatch = nil })

	for _, answer := range []wire.HeartbeatAnswer{
		{Bootstrap: forgedSnapshots(s, id, v1, v2, evil)},
		{ReplayFrom: map[string]uint64{"stable@v1": 1 << 60}},
		{ReplayFrom: map[string]uint64{"stable@v1": 0, id: 0, "nonsense": 7}},
		{WantRecord: []string{"stable@v1", id, "nonsense"}},
	} {
		l.change(func() { l.answer = answer })
		l.untilHeard()
		same(fmt.Sprintf("%+v", answer))
	}
	l.change(func() { l.answer = wire.HeartbeatAnswer{} })
	s.Until("what it was asked for again was sent again", func(context.Context) (bool, string, error) {
		return l.count(before[0]) >= 2, "", nil
	})
	for _, e := range before {
		if l.count(e) == 0 {
			t.Errorf("never sent: %s", e.Canonical)
		}
	}
	for _, raw := range []reply{
		{status: 200, body: strings.Repeat("x", 2<<20)},
		{status: 200, body: "<html>"},
		{status: 302, header: map[string]string{"Location": "https://127.0.0.1:1/"}},
		{status: 204, header: map[string]string{wire.HeaderReplayFrom: "-1"}},
	} {
		n := len(l.heard(0))
		l.change(func() { l.raw = &raw })
		s.Until("it was heard", func(context.Context) (bool, string, error) { return len(l.heard(n)) > 0, "", nil })
		l.change(func() { l.raw = nil })
		l.untilHeard() // an answer in good order: otherwise the agent would wait longer and longer
		same(fmt.Sprint("a heartbeat answered ", raw.status))
	}
	for _, body := range garbage(l.honest(id)) {
		l.blurt(body)
		same("garbage")
	}

	// After all of it the truth is still heard.
	l.say(l.honest(id))
	a.UntilState(id, host.Converged)
}

// garbage is what no control plane says to a poll.
func garbage(d wire.Dispatch) []string {
	honest := string(d.Encode())
	return []string{
		"", "<html>", "{}", "[" + honest + "]", honest + honest, honest[:len(honest)-1] + `,"hostname":"a"}`,
		strings.Replace(honest, `"a"`, `null`, 1), honest[:len(honest)-1] + `,"x":"` + strings.Repeat("x", 2<<20) + `"}`,
		strings.Repeat("[", 1<<16), strings.Replace(honest, `"a"`, "\"a\xff\"", 1),
	}
}

// forgedSnapshots are what a control plane might say of host a to have it run, or go back to, something else.
func forgedSnapshots(s *fleettest.Site, id, v1, v2, evil string) []wire.Snapshot {
	now := s.Clock.Now().Wall
	snapshot := func(state host.State, change func(*wire.Snapshot)) wire.Snapshot {
		forged := wire.Snapshot{
			RolloutID: id, Hostname: "a", Channel: fleettest.Channel, State: state, TargetClosure: v2, CurrentClosureAtDispatch: v1,
			DispatchedAt: now, DispatchAckedAt: now, SoakDueAt: now, LastEventSeq: 3,
		}
		change(&forged)
		return forged
	}
	owed := func(f *wire.Snapshot) {
		f.CurrentClosureAtDispatch, f.PolicyApplied = evil, host.RollbackAndHalt
	}
	return []wire.Snapshot{
		snapshot(host.Activating, func(f *wire.Snapshot) { f.TargetClosure = evil }),
		snapshot(host.Activating, func(f *wire.Snapshot) { f.Wave, f.HasWave = 7, true }),
		snapshot(host.Activating, func(f *wire.Snapshot) { f.PolicyHash = strings.Repeat("0", 64) }),
		snapshot(host.Activating, func(f *wire.Snapshot) { f.Hostname = "b" }),
		snapshot(host.Activating, func(f *wire.Snapshot) { f.LastEventSeq = 1 << 60 }),
		snapshot(host.Activating, func(f *wire.Snapshot) { f.RolloutID = "stable@never" }),
		snapshot(host.Converged, func(*wire.Snapshot) {}),
		snapshot(host.Failed, owed),
		snapshot(host.Soaking, owed),
		snapshot(host.Reverted, func(f *wire.Snapshot) { f.RevertedTo = evil }),
	}
}

func TestForgedSnapshotsSwitchNoHostThatLostItsJournal(t *testing.T) {
	t.Parallel()
	s, l, v1 := lying(t)
	a := s.Host("a")
	v2, evil := s.Build("v2"), s.Build("evil")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2})
	l.change(func() { l.dispatch = nil })
	switches := func() int { return strings.Count(a.Log().String(), "msg=switching") }
	once := switches()
	for _, forged := range forgedSnapshots(s, id, v1, v2, evil) {
		l.change(func() { l.answer = wire.HeartbeatAnswer{Bootstrap: []wire.Snapshot{forged}} })
		a.Stop()
		a.WipeState()
		a.Start()
		l.untilHeard()
		if got := a.Runs(); got != v1 || switches() != once || a.Had(v2) || a.Had(evil) {
			t.Errorf("%+v: it runs %s, want %s", forged, got, v1)
		}
	}
}

func TestLiesAboutEventsStopNoRolloutAndNoRollback(t *testing.T) {
	t.Parallel()
	s, l, v1 := lying(t)
	a := s.Host("a")
	fork := wire.Problem{Error: wire.ErrorFork, ReplayFrom: 1 << 60, HasReplayFrom: true}
	gap := wire.Problem{Error: wire.ErrorGap, ReplayFrom: 1 << 60, HasReplayFrom: true}
	for i, lie := range []reply{
		{status: http.StatusConflict, body: string(fork.Encode())},
		{status: http.StatusConflict, body: string(gap.Encode())},
		{status: http.StatusBadRequest, body: "no"},
		{status: http.StatusForbidden},
		{status: http.StatusOK, body: strings.Repeat("x", 2<<20)},
		{status: http.StatusNoContent},
	} {
		good := s.Publish(fleettest.Release{Ref: fmt.Sprint("good", i), Closure: s.Build(fmt.Sprint("good", i))})
		l.change(func() { l.events = &lie })
		l.say(l.honest(good))
		a.UntilState(good, host.Converged)
		v1 = a.Runs()
	}
	bad := s.Publish(fleettest.Release{Ref: "bad", Closure: s.BuildBroken("bad"), Soak: 5})
	l.say(l.honest(bad))
	a.UntilState(bad, host.Reverted)
	if got := a.Runs(); got != v1 {
		t.Errorf("it runs %s, want %s", got, v1)
	}
}
