package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a fleet, a planner and the facts it was told, for scripts and properties.
type world struct {
	t        testing.TB
	now      time.Time
	p        *Planner
	channels map[string]any
	hosts    map[string]any
	budgets  []map[string]any
	edges    []map[string]any
	chEdges  []map[string]any
	status   map[string]HostStatus
	seq      int
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: start, channels: map[string]any{}, hosts: map[string]any{}, status: map[string]HostStatus{}}
	w.p = NewPlanner(DefaultSettings(), start, false)
	return w
}

func (w *world) addChannel(name string, window int) {
	w.channels[name] = map[string]any{"rolloutPolicy": "p", "freshnessWindow": window}
}

func (w *world) addHost(name, channel string, tags ...string) {
	if tags == nil {
		tags = []string{}
	}
	w.hosts[name] = map[string]any{"system": "x", "tags": tags, "channel": channel, "closureHash": "v0"}
	if _, ok := w.channels[channel]; !ok {
		w.addChannel(channel, 60*24*365)
	}
}

func (w *world) addBudget(selector map[string]any, limit string, n int) {
	w.budgets = append(w.budgets, map[string]any{"selector": selector, limit: n})
}

func (w *world) parseFleet() *fleet.Fleet {
	list := func(l []map[string]any) any {
		if l == nil {
			return []any{}
		}
		return l
	}
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "hosts": w.hosts, "channels": w.channels,
		"rolloutPolicies": map[string]any{"p": map[string]any{"strategy": "waves", "waves": []any{}, "onHealthFailure": "rollback-and-halt"}},
		"edges":           list(w.edges), "channelEdges": list(w.chEdges), "disruptionBudgets": list(w.budgets),
		"meta": map[string]any{"schemaVersion": 1, "signedAt": w.now.Format(time.RFC3339), "ciCommit": "c"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := fleet.ParseFleet(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *world) manifest(id, target string, waves [][]string) *fleet.Manifest {
	rid, err := fleet.ParseRolloutID(id)
	if err != nil {
		w.t.Fatal(err)
	}
	set := []map[string]any{}
	for i, names := range waves {
		for _, n := range names {
			set = append(set, map[string]any{"hostname": n, "waveIndex": i, "targetClosure": target})
		}
	}
	slices.SortFunc(set, func(a, b map[string]any) int { return strings.Compare(a["hostname"].(string), b["hostname"].(string)) })
	f := w.parseFleet()
	budgets := []map[string]any{}
	for i, b := range f.DisruptionBudgets {
		members := []string{}
		for name, h := range f.Hosts {
			if b.Selector.Matches(name, h) {
				members = append(members, name)
			}
		}
		slices.Sort(members)
		out := map[string]any{"hosts": members}
		for k, v := range w.budgets[i] {
			out[k] = v
		}
		budgets = append(budgets, out)
	}
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "displayName": id, "channel": rid.Channel(), "channelRef": rid.Ref(), "fleetResolvedHash": strings.Repeat("0", 64),
		"hostSet": set, "disruptionBudgets": budgets,
		"meta": map[string]any{"schemaVersion": 1, "signedAt": w.now.Format(time.RFC3339), "ciCommit": "c"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := fleet.ParseManifest(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// tell changes a host's status and tells the planner.
func (w *world) tell(name string, change func(*HostStatus)) {
	s := w.status[name]
	change(&s)
	w.status[name] = s
	w.p.SetHost(name, s)
}

func (w *world) heard(name string) {
	w.tell(name, func(s *HostStatus) { s.LastSeen, s.Heard = w.now, true })
}

// record makes a record in a state that is plausible enough for the planner.
func (w *world) record(name, rollout string, state host.State, change func(*host.Record)) *host.Record {
	channel, _, _ := strings.Cut(rollout, "@")
	w.seq++
	rec := &host.Record{
		RolloutID: rollout, Hostname: name, Channel: channel, State: state, TargetClosure: "v1",
		CurrentClosureAtDispatch: "v0", DispatchedAt: w.now, LastEventSeq: uint64(w.seq),
	}
	switch state {
	case host.Pending, host.Activating:
	case host.Deferred:
		rec.DeferredComponent = "kernel"
	case host.Soaking:
		rec.SoakDueAt, rec.CurrentClosure = w.now.Add(10*time.Minute), "v1"
	case host.Converged:
		rec.ConvergedAt = w.now
	case host.Failed:
		rec.FailedAt, rec.PolicyApplied = w.now, host.RollbackAndHalt
	case host.Reverted:
		rec.FailedAt, rec.PolicyApplied, rec.RevertedAt, rec.RevertedTo = w.now, host.RollbackAndHalt, w.now, "v0"
	}
	if change != nil {
		change(rec)
	}
	w.p.SetRecord(rec)
	return rec
}

func describe(a Action) string {
	switch a := a.(type) {
	case OpenRollout:
		return fmt.Sprintf("open %s, %d waves", a.Record.ID, a.Record.Waves)
	case StepRollout:
		return fmt.Sprintf("step %s %s", a.Rollout, describeEvent(a.Event)) + " -> " + a.Record.State.String()
	case AdvanceWave:
		s := fmt.Sprintf("advance %s %d -> %d", a.Rollout, a.From, a.To)
		if len(a.Skipped) > 0 {
			s += " skipped " + strings.Join(a.Skipped, ",")
		}
		return s
	case QueueDispatch:
		return fmt.Sprintf("queue %s %s wave %d %s", a.Host, a.Rollout, a.Wave, a.TargetClosure)
	case WithdrawDispatch:
		return fmt.Sprintf("withdraw %s %s: %s", a.Host, a.Rollout, a.Reason.Text)
	case DeferDispatch:
		return fmt.Sprintf("defer %s %s: %s", a.Host, a.Rollout, a.Reason.Gate)
	}
	return fmt.Sprintf("unknown %T", a)
}

func describeEvent(e Event) string {
	switch e := e.(type) {
	case RolloutOpened:
		return fmt.Sprintf("RolloutOpened %s waves=%d", e.ID, e.Waves)
	case HostJoined:
		return "HostJoined " + e.Host
	case WaveDone:
		return fmt.Sprintf("WaveDone %d", e.Wave)
	case WaveAdvanced:
		return fmt.Sprintf("WaveAdvanced %d", e.To)
	case AllConverged:
		return "AllConverged"
	case HostReverted:
		return "HostReverted " + e.Host
	case HostFailed:
		return "HostFailed " + e.Host
	case OperatorClearance:
		return fmt.Sprintf("OperatorClearance hosts=%s waive=%v", strings.Join(e.Hosts, ","), e.WaiveWave)
	case SuccessorOpened:
		return "SuccessorOpened " + e.Successor
	case RetentionExpired:
		return "RetentionExpired"
	}
	return fmt.Sprintf("unknown %T", e)
}
