package core_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/keydir"
	"nixfleet/release"
	"nixfleet/rollout"
	"nixfleet/trust"
	"nixfleet/wire"
)

var start = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// world drives one core as the reducer does, with a store of maps and documents signed for the test.
type world struct {
	t       *testing.T
	core    *core.Core
	now     time.Time
	docs    *core.Documents
	tickets map[core.TicketKey]trust.Verified[*fleet.Ticket]
	hashes  map[ledger.EventKey]ledger.Hash
	rows    []ledger.Row
	last    *core.Commit
	failing bool // the next commit does not become durable
	dir     string
	warmUp  time.Duration // of an empty store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start, warmUp: time.Nanosecond, dir: t.TempDir(), tickets: map[core.TicketKey]trust.Verified[*fleet.Ticket]{}}
	must(t, ignore(keydir.Create(w.dir+"/keys", "admin", nil, start)))
	w.wipe()
	return w
}

// wipe forgets all that the control plane knew; the documents stay.
func (w *world) wipe() {
	w.t.Helper()
	s := rollout.DefaultSettings()
	s.EmptyStoreWarmUp = w.warmUp
	c, err := core.New(&ledger.Image{}, s, w.now)
	must(w.t, err)
	w.core, w.hashes, w.rows = c, map[ledger.EventKey]ledger.Hash{}, nil
	w.now = w.now.Add(time.Second)
}

// publish signs a release of channel stable for the hosts, one wave each if waves is set.
func (w *world) publish(version string, waves bool, hosts ...string) string {
	w.t.Helper()
	list := map[string]any{}
	var policy []any
	for _, name := range hosts {
		list[name] = map[string]any{"system": "x", "tags": []string{}, "channel": "stable", "closureHash": version + "-closure"}
		if waves {
			policy = append(policy, map[string]any{"selector": map[string]any{"hosts": []string{name}}, "soakMinutes": 1})
		}
	}
	if !waves {
		policy = []any{map[string]any{"selector": map[string]any{"all": true}, "soakMinutes": 1}}
	}
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "hosts": list,
		"channels":        map[string]any{"stable": map[string]any{"rolloutPolicy": "p", "freshnessWindow": 14400}},
		"rolloutPolicies": map[string]any{"p": map[string]any{"strategy": "s", "onHealthFailure": "rollback-and-halt", "waves": policy}},
		"meta":            map[string]any{},
	})
	must(w.t, err)
	signer, err := keydir.LoadReleaseKey(w.dir + "/keys")
	must(w.t, err)
	must(w.t, ignore(release.Write(release.Request{Fleet: doc, Refs: map[string]string{"stable": version}, Dir: w.dir + "/pub", At: w.now, Signer: signer})))
	w.read()
	return "stable@" + version
}

// read verifies what is published.
func (w *world) read() {
	w.t.Helper()
	roots, err := trust.LoadFile(w.dir + "/keys/" + keydir.TrustFile)
	must(w.t, err)
	dir, err := release.Open(w.dir + "/pub")
	must(w.t, err)
	w.docs = &core.Documents{Manifests: map[string]trust.Verified[*fleet.Manifest]{}}
	doc, err := dir.Fleet()
	must(w.t, err)
	w.docs.Fleet, err = trust.VerifyFleet(doc.Raw, doc.Sig, roots, w.now, trust.AnyAge)
	must(w.t, err)
	ids, err := dir.Rollouts()
	must(w.t, err)
	for _, id := range ids {
		doc, err := dir.Manifest(id)
		must(w.t, err)
		v, err := trust.VerifyManifest(doc.Raw, doc.Sig, roots, w.now, trust.AnyAge)
		must(w.t, err)
		w.docs.Manifests[id.String()] = v
		tickets, err := dir.Tickets(id)
		must(w.t, err)
		for name := range tickets.Hosts() {
			doc, err := tickets.Ticket(name)
			must(w.t, err)
			ticket, err := trust.VerifyTicket(doc.Raw, doc.Sig, roots, w.now, trust.AnyAge)
			must(w.t, err)
			w.tickets[core.TicketKey{RolloutID: id.String(), Host: name}] = ticket
		}
		must(w.t, tickets.Close())
	}
}

// handle runs inputs as one batch, a second after the last.
func (w *world) handle(inputs ...core.Input) []core.Answer {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	wanted := w.core.Recall(inputs)
	recalled := core.Recalled{Hashes: map[ledger.EventKey]ledger.Hash{}, Tickets: map[core.TicketKey]trust.Verified[*fleet.Ticket]{}}
	for _, k := range wanted.Hashes {
		if h, ok := w.hashes[k]; ok {
			recalled.Hashes[k] = h
		}
	}
	for _, k := range wanted.Tickets {
		if v, ok := w.tickets[k]; ok {
			recalled.Tickets[k] = v
		}
	}
	commit, err := w.core.Handle(inputs, recalled, w.now)
	must(w.t, err)
	w.last = commit
	if w.failing {
		w.failing = false
		w.core.Dropped(commit)
		return nil
	}
	for _, row := range commit.Ledger.Rows {
		w.rows = append(w.rows, row)
		if row.EventSeq != 0 {
			w.hashes[ledger.EventKey{Host: row.Host, RolloutID: row.RolloutID, Seq: row.EventSeq}] = row.EventHash
		}
	}
	w.core.Applied(commit)
	return commit.Answers
}

func (w *world) documents() { w.handle(core.DocumentsChanged{Documents: w.docs}) }

// received is an envelope as the API would hand it over.
func (w *world) received(name, rolloutID string, seq uint64, event host.Event, change func(*wire.Envelope)) core.Received {
	w.t.Helper()
	e := wire.Envelope{Hostname: name, RolloutID: rolloutID, Seq: seq, Event: event, Epoch: "e"}
	if change != nil {
		change(&e)
	}
	raw := e.Append(nil)
	decoded, err := wire.DecodeEnvelope(raw)
	must(w.t, err)
	canonical, err := ledger.Canonical(raw)
	must(w.t, err)
	body, err := ledger.Canonical(decoded.RawEvent)
	must(w.t, err)
	return core.Received{Envelope: decoded, Raw: raw, Canonical: canonical, EventHash: sha256.Sum256(body)}
}

func (w *world) send(name, rolloutID string, seq uint64, event host.Event) wire.BatchResult {
	w.t.Helper()
	return w.batch(name, w.received(name, rolloutID, seq, event, nil))[0]
}

func (w *world) batch(name string, list ...core.Received) []wire.BatchResult {
	w.t.Helper()
	return w.handle(core.Events{Host: name, Received: list})[0].(core.EventsAnswer).Results
}

func (w *world) beat(name string, change func(*wire.Heartbeat)) wire.HeartbeatAnswer {
	w.t.Helper()
	hb := wire.Heartbeat{Hostname: name, At: w.now.Add(time.Second), AgentVersion: "test", Instance: name + "-1", Epoch: "e"}
	if change != nil {
		change(&hb)
	}
	return w.handle(core.Beat{Heartbeat: hb})[0].(core.BeatAnswer).Answer
}

func (w *world) poll(name, have string) *wire.Dispatch {
	w.t.Helper()
	return w.handle(core.Poll{Host: name, Have: have})[0].(core.PollAnswer).Dispatch
}

// dispatched brings the host to the point where it has a dispatch.
func (w *world) dispatched(name string) *wire.Dispatch {
	w.t.Helper()
	w.beat(name, nil)
	d := w.poll(name, "")
	if d == nil {
		w.t.Fatalf("no dispatch for %s: %+v", name, w.why(name))
	}
	return d
}

func (w *world) why(name string) core.Why {
	w.t.Helper()
	return w.handle(core.Ask{Question: core.AskWhy{Host: name}})[0].(core.WhyAnswer).Why
}

func (w *world) state(name string) string { return w.why(name).Host.State }

func ack(d *wire.Dispatch, prior string, at time.Time) host.Activate {
	return host.Activate{
		CurrentClosureAtDispatch: prior, ReceivedAt: at, PolicyHash: d.TicketHash, Wave: d.Wave, HasWave: true, DispatchedAt: d.EnqueuedAt,
		TargetClosure: d.TargetClosure, SoakDueAt: d.SoakDueAt,
	}
}

// healthy is the whole story of a host that converges; broken of one that is taken back.
func healthy(d *wire.Dispatch, at time.Time) []host.Event {
	return []host.Event{
		ack(d, "old-closure", at),
		host.ActivationStarted{StartedAt: at, SwitchMethod: "m"},
		host.ActivationCompleted{ObservedCurrentClosure: d.TargetClosure, CompletedAt: at},
		host.ProbeTopologyDeclared{DeclaredAt: at},
		host.ConvergedReached{ConvergedAt: at.Add(time.Hour), CurrentClosure: d.TargetClosure},
	}
}

func broken(d *wire.Dispatch, at time.Time) []host.Event {
	return []host.Event{
		ack(d, "old-closure", at),
		host.ActivationStarted{StartedAt: at, SwitchMethod: "m"},
		host.ActivationFailed{ExitCode: 1, FailedAt: at},
		host.RollbackCompleted{RevertedToClosure: "old-closure", CompletedAt: at},
	}
}

func (w *world) tell(name, rolloutID string, events []host.Event) {
	w.t.Helper()
	for i, e := range events {
		if r := w.send(name, rolloutID, uint64(i+1), e); r.Status != http.StatusNoContent {
			w.t.Fatalf("%s: event %d %T: %+v", name, i+1, e, r)
		}
	}
}

func (w *world) quarantined(closure string) bool {
	w.t.Helper()
	for _, q := range w.handle(core.Ask{Question: core.AskQuarantines{}})[0].(core.QuarantinesAnswer).Quarantines {
		if q.Closure == closure && q.ClearedAt.IsZero() {
			return true
		}
	}
	return false
}

func (w *world) rollout(id string) rollout.State {
	w.t.Helper()
	for _, r := range w.handle(core.Ask{Question: core.AskRollouts{RolloutID: id}})[0].(core.RolloutsAnswer).Rollouts {
		return r.Record.State
	}
	return rollout.Unopened
}

// check rebuilds the views from the log. The store of this world is the log alone, so what is compared is that every
// row can be applied again and that the chain holds.
func (w *world) check() {
	w.t.Helper()
	image := &ledger.Image{Head: w.core.Head(), Policies: w.policies()}
	_, err := core.Rebuild(image, func(visit func(*ledger.Row) error) error {
		for i := range w.rows {
			row := w.rows[i]
			row.Canonical = nil
			if err := visit(&row); err != nil {
				return err
			}
		}
		return nil
	})
	must(w.t, err)
}

func (w *world) policies() []ledger.Policy {
	var out []ledger.Policy
	for _, v := range w.tickets {
		p := v.Value().HostPolicy()
		out = append(out, ledger.Policy{Hash: trust.PolicyHash(v.Value()), Body: wire.AppendPolicy(nil, &p)})
	}
	return out
}

// policiesOf returns the policy hashes of tickets by host.
func (w *world) policiesOf(tickets map[core.TicketKey]trust.Verified[*fleet.Ticket]) map[string]string {
	out := map[string]string{}
	for _, v := range tickets {
		out[v.Value().Hostname] = trust.PolicyHash(v.Value())
	}
	return out
}

// flags returns the flags of the last row of an agent's event.
func (w *world) flags() []string {
	for i := len(w.rows) - 1; i >= 0; i-- {
		if w.rows[i].EventSeq != 0 {
			return w.rows[i].Flags.Names()
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ignore[T any](_ T, err error) error { return err }

func describe(r wire.BatchResult) string {
	return fmt.Sprintf("%d %s %d", r.Status, r.Error, r.ReplayFrom)
}
