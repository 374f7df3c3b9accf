package core

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// beat takes a heartbeat. It changes no host's state, with the two exceptions of docs/design/03-wire-protocol.md:
// a quarantine that a signed ticket vouches for, and the completion of an agent that cannot report it.
func (t *tx) beat(in *wire.Heartbeat) (Answer, error) {
	answer := wire.HeartbeatAnswer{ReceivedAt: t.now}
	if old := t.look(in.Hostname); old != nil && outdated(&old.beat, in.At) {
		return BeatAnswer{answer}, nil
	}
	h := t.host(in.Hostname)
	t.beats[h.name] = struct{}{}
	if err := t.identity(h, in); err != nil {
		return nil, err
	}
	takeBeat(&h.beat, in, t.now)
	if err := t.reverted(h, in.Reverted); err != nil {
		return nil, err
	}
	if err := t.synthesize(h, in); err != nil {
		return nil, err
	}
	answer.ReplayFrom = t.replayFrom(h, in)
	h.beat.behind = len(answer.ReplayFrom) > 0
	answer.Bootstrap = bootstrap(h, in)
	for i := range h.mirrors {
		if h.mirrors[i].want != "" {
			answer.WantRecord = append(answer.WantRecord, h.mirrors[i].rollout)
		}
	}
	return BeatAnswer{answer}, t.persistBeat(h)
}

// outdated says whether a heartbeat is older than the last. A host whose clock was ahead and was set right must not
// be ignored until it catches up, so the last counts as no later than when it was received.
func outdated(last *beat, at time.Time) bool {
	floor := last.at
	if last.lastSeen.Before(floor) {
		floor = last.lastSeen
	}
	return !floor.IsZero() && at.Before(floor)
}

// identity looks for two live machines with one identity: an instance that comes back after another was seen.
func (t *tx) identity(h *hostState, in *wire.Heartbeat) error {
	b := &h.beat
	switch {
	case in.Instance == "" || in.Instance == b.instance:
	case slices.Contains(b.retired, in.Instance):
		b.lastClone = t.now
		b.retire(in.Instance)
		if h.holding(HoldClone) == nil {
			return t.hold(h.name, "", HoldClone, "two live machines report as "+h.name+": instances "+in.Instance+" and "+b.retired[len(b.retired)-1]+" alternate")
		}
	default:
		b.retire(in.Instance)
	}
	if h.holding(HoldClone) != nil && in.Instance == b.instance && !t.now.Before(b.lastClone.Add(cloneQuiet)) {
		return t.fact(h.name, "", HostReleased{Kind: HoldClone, Reason: "one instance alone was seen for " + cloneQuiet.String()})
	}
	return nil
}

// retire makes instance the current one and remembers the one before.
func (b *beat) retire(instance string) {
	retired := make([]string, 0, len(b.retired)+1)
	for _, r := range b.retired {
		if r != instance {
			retired = append(retired, r)
		}
	}
	if b.instance != "" {
		retired = append(retired, b.instance)
	}
	if len(retired) > maxRetired {
		retired = retired[len(retired)-maxRetired:]
	}
	b.retired, b.instance = retired, instance
}

func takeBeat(b *beat, in *wire.Heartbeat, now time.Time) {
	b.lastSeen, b.at, b.heard = now, in.At, true
	b.version, b.epoch, b.bootID = in.AgentVersion, in.Epoch, in.BootID
	b.current, b.probes, b.live = in.CurrentClosure, in.Probes, in.RolloutID
	b.refused, b.degraded, b.drifted = in.Refused, in.Degraded, in.Drifted
}

// reverted puts quarantines back that a wiped control plane lost: a signed ticket must name the closure for this
// host, and no quarantine, cleared ones included, may be there.
func (t *tx) reverted(h *hostState, list []wire.RevertedClosure) error {
	for _, r := range list {
		if t.quarantine(quarantineKey{r.Channel, r.Closure}) != nil {
			continue
		}
		for _, id := range t.core.rolloutsOf(r.Channel, h.name, r.Closure) {
			v, ok := t.ticket(id, h.name)
			if !ok || v.Value().TargetClosure != r.Closure || v.Value().Channel != r.Channel {
				continue
			}
			if err := t.fact(h.name, id, QuarantineInserted{Channel: r.Channel, Closure: r.Closure, Reason: "the host reports that it was taken back"}); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// rolloutsOf lists the published rollouts of a channel that take the host to the closure, in order of id.
func (c *Core) rolloutsOf(channel, hostname, closure string) []string {
	if c.documents == nil {
		return nil
	}
	var ids []string
	for id, v := range c.documents.Manifests {
		m := v.Value()
		if m.Channel != channel {
			continue
		}
		if entry, ok := m.Find(hostname); ok && entry.TargetClosure == closure {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// synthesize completes the switch of an agent of the original, which reports the closure it runs and no more.
func (t *tx) synthesize(h *hostState, in *wire.Heartbeat) error {
	if in.AgentVersion != "" || in.CurrentClosure == "" {
		return nil
	}
	for i := range h.mirrors {
		m := &h.mirrors[i]
		if m.record == nil || m.record.SupersededBy != "" || m.record.TargetClosure != in.CurrentClosure {
			continue
		}
		if m.record.State != host.Activating && m.record.State != host.Deferred {
			continue
		}
		event := host.ActivationCompleted{ObservedCurrentClosure: in.CurrentClosure, CompletedAt: in.At}
		e := wire.Envelope{Hostname: h.name, RolloutID: m.rollout, Kind: wire.EventKind(event), Seq: m.record.LastEventSeq + 1, Event: event}
		row, err := t.append(ledger.Row{
			Kind: e.Kind, Host: h.name, RolloutID: m.rollout, PolicyHash: m.record.PolicyHash, Flags: ledger.Synthesized, Payload: e.Append(nil),
		})
		if err != nil {
			return err
		}
		if err := t.applySynthesized(row, &e); err != nil {
			return err
		}
	}
	return nil
}

// replayFrom asks for events again that the agent believes stored and that are not: this control plane lost them.
func (t *tx) replayFrom(h *hostState, in *wire.Heartbeat) map[string]uint64 {
	var from map[string]uint64
	for id, acked := range in.AckedSeq {
		stored := uint64(0)
		if m := h.mirror(id); m != nil {
			stored = m.highest
		}
		if acked <= stored {
			continue
		}
		if _, err := fleet.ParseRolloutID(id); err != nil {
			continue
		}
		if from == nil {
			from = map[string]uint64{}
		}
		from[id] = stored
	}
	if from != nil {
		t.core.planner.Restored(t.now)
		t.log(levelWarn, "a host acknowledged events that are not stored here", "host", h.name)
	}
	return from
}

// bootstrap is what the mirror knows of the rollouts that concern the host now and of which it has no record: it lost
// its journal, or never had one.
func bootstrap(h *hostState, in *wire.Heartbeat) []wire.Snapshot {
	if in.AgentVersion == "" && in.RolloutID != "" {
		return nil
	}
	newest := h.newest()
	var out []wire.Snapshot
	for i := range h.mirrors {
		r := h.mirrors[i].record
		if r == nil || r.SupersededBy != "" || r.State == host.Pending {
			continue
		}
		if _, has := in.LastEventSeq[r.RolloutID]; has || (!r.State.Live() && !host.Owed(r) && r != newest) {
			continue
		}
		out = append(out, wire.SnapshotOf(r))
	}
	return out
}

// persistBeat has what must survive of the host's heartbeats stored, when it changed or got old.
func (t *tx) persistBeat(h *hostState) error {
	b := &h.beat
	if b.persistedAs == b.identity() && b.lastSeen.Sub(b.persisted) < persistEvery {
		return nil
	}
	body, err := encodeBeat(b)
	if err != nil {
		return err
	}
	b.persisted, b.persistedAs = b.lastSeen, b.identity()
	t.out.Ledger.Hosts = append(t.out.Ledger.Hosts, ledger.HostStatus{Host: h.name, Body: body})
	return nil
}

// status is what the planner looks at.
func (h *hostState) status() rollout.HostStatus {
	b := &h.beat
	s := rollout.HostStatus{LastSeen: b.lastSeen, Heard: b.heard && !b.behind, Held: h.held(), Holds: b.live}
	if b.refused != nil {
		s.RefusedRollout, s.RefusedReason = b.refused.RolloutID, b.refused.Reason
	}
	r := h.newest()
	for _, name := range slices.Sorted(maps.Keys(b.probes)) {
		if b.probes[name] == host.Fail && enforced(r, name) {
			s.Failing = append(s.Failing, name)
		}
	}
	return s
}

// enforced says whether a probe gates, by the last topology the host declared. Heartbeats do not say it.
func enforced(r *host.Record, name string) bool {
	if r == nil {
		return false
	}
	for _, d := range r.Declared {
		if d.Name == name {
			return d.Mode == host.Enforce
		}
	}
	return false
}

// notFound and accepted are what operators are told.
func notFound(reason string) Answer { return StatusAnswer{Status: http.StatusNotFound, Reason: reason} }

func done() Answer { return StatusAnswer{Status: http.StatusNoContent} }
