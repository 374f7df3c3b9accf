package wire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// Heartbeat says that a host is alive and how it is. Agents of the original send the first four fields only; AgentVersion
// tells them apart.
type Heartbeat struct {
	Hostname       string
	RolloutID      string // the live rollout, "" none
	CurrentClosure string // "" unknown
	At             time.Time

	AgentVersion string
	Epoch        string // of the journal
	BootID       string
	UptimeSecs   uint64
	Instance     string // random per process start
	// The last seq given out and the last seq acknowledged, per rollout.
	LastEventSeq map[string]uint64
	AckedSeq     map[string]uint64
	OutboxDepth  uint64
	DeadLetters  uint64
	// Reverted are the closures this host was taken back from, those included where that was given up.
	Reverted []RevertedClosure
	Probes   map[string]host.Status // latest results, by name
	Refused  *RefusedDispatch       // nil: none
	Drifted  string                 // the converged rollout whose target the host runs no longer, "" none
	Degraded string                 // why the agent does less than it should, "" not at all
}

// RevertedClosure is a closure that a host was taken back from.
type RevertedClosure struct{ Channel, Closure string }

// RefusedDispatch is a dispatch that the agent will not act on.
type RefusedDispatch struct{ RolloutID, Reason string }

// maxReverted bounds the reverted closures of one host: one per rollout it may speak of.
const maxReverted = MaxHostRollouts

// Encode gives the body of a heartbeat.
func (h *Heartbeat) Encode() []byte {
	o := open(nil)
	o.str("hostname", h.Hostname)
	o.optStr("rollout_id", h.RolloutID)
	o.optStr("current_closure", h.CurrentClosure)
	o.time("at", h.At)
	if h.AgentVersion != "" {
		h.appendOurs(&o)
	}
	return o.close()
}

func (h *Heartbeat) appendOurs(o *object) {
	o.str("agent_version", h.AgentVersion)
	o.optStr("epoch", h.Epoch)
	o.optStr("boot_id", h.BootID)
	o.uint("uptime_secs", h.UptimeSecs)
	o.optStr("instance", h.Instance)
	o.seqs("last_event_seq_by_rollout", h.LastEventSeq)
	o.seqs("acked_seq_by_rollout", h.AckedSeq)
	o.uint("outbox_depth", h.OutboxDepth)
	o.uint("dead_letters", h.DeadLetters)
	o.key("reverted_closures")
	o.buf = append(o.buf, '[')
	for i, r := range h.Reverted {
		entry := open(comma(o.buf, i))
		entry.str("channel", r.Channel)
		entry.str("closure", r.Closure)
		o.buf = entry.close()
	}
	o.buf = append(o.buf, ']')
	o.key("probes")
	probes := open(o.buf)
	for _, name := range slices.Sorted(maps.Keys(h.Probes)) {
		probes.name(name)
		probes.buf = AppendString(probes.buf, h.Probes[name].String())
	}
	o.buf = probes.close()
	if h.Refused != nil {
		o.key("refused")
		refused := open(o.buf)
		refused.str("rolloutId", h.Refused.RolloutID)
		refused.str("reason", h.Refused.Reason)
		o.buf = refused.close()
	}
	o.optStr("drifted", h.Drifted)
	o.optStr("degraded", h.Degraded)
}

// seqs writes a map of seqs in order of its keys.
func (o *object) seqs(key string, m map[string]uint64) {
	o.key(key)
	inner := open(o.buf)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		inner.name(name)
		inner.buf = strconv.AppendUint(inner.buf, m[name], 10)
	}
	o.buf = inner.close()
}

// DecodeHeartbeat reads a heartbeat.
func DecodeHeartbeat(data []byte) (Heartbeat, error) {
	o, err := parse(data)
	if err != nil {
		return Heartbeat{}, fmt.Errorf("wire: heartbeat: %w", err)
	}
	h := Heartbeat{
		Hostname:       named(o, "hostname", MaxHostname),
		RolloutID:      optText(o, "rollout_id", MaxRolloutID),
		CurrentClosure: optText(o, "current_closure", MaxClosure),
		At:             o.Time("at"),
		AgentVersion:   optText(o, "agent_version", MaxText),
		Epoch:          optText(o, "epoch", MaxHash),
		BootID:         optText(o, "boot_id", MaxHash),
		UptimeSecs:     o.OptUint64("uptime_secs"),
		Instance:       optText(o, "instance", MaxHash),
		LastEventSeq:   seqs(o, "last_event_seq_by_rollout"),
		AckedSeq:       seqs(o, "acked_seq_by_rollout"),
		OutboxDepth:    o.OptUint64("outbox_depth"),
		DeadLetters:    o.OptUint64("dead_letters"),
		Reverted:       reverted(o),
		Probes:         probeStatuses(o),
		Refused:        refused(o),
		Drifted:        optText(o, "drifted", MaxRolloutID),
		Degraded:       optText(o, "degraded", MaxText),
	}
	if err := o.Err(); err != nil {
		return Heartbeat{}, fmt.Errorf("wire: heartbeat: %w", err)
	}
	return h, nil
}

// seqs reads a map from rollout id to seq that may be absent; it is nil when empty.
func seqs(o *strictjson.Object, key string) map[string]uint64 {
	inner := o.OptObject(key)
	if inner == nil {
		return nil
	}
	keys := inner.Keys()
	most(o, key, len(keys), MaxHostRollouts)
	if o.Err() != nil || len(keys) == 0 {
		return nil
	}
	m := make(map[string]uint64, len(keys))
	for _, id := range keys {
		if len(id) > MaxRolloutID {
			inner.Fail("", "a rollout id of %d bytes, at most %d allowed", len(id), MaxRolloutID)
		}
		m[id] = inner.Uint64(id)
	}
	return m
}

func reverted(o *strictjson.Object) []RevertedClosure {
	list := o.OptObjects("reverted_closures")
	most(o, "reverted_closures", len(list), maxReverted)
	var out []RevertedClosure
	for _, r := range list {
		out = append(out, RevertedClosure{Channel: named(r, "channel", MaxChannel), Closure: named(r, "closure", MaxClosure)})
	}
	return out
}

func probeStatuses(o *strictjson.Object) map[string]host.Status {
	inner := o.OptObject("probes")
	if inner == nil {
		return nil
	}
	keys := inner.Keys()
	most(o, "probes", len(keys), MaxProbes)
	if o.Err() != nil || len(keys) == 0 {
		return nil
	}
	m := make(map[string]host.Status, len(keys))
	for _, name := range keys {
		checkProbeName(inner, name)
		m[name] = status(inner, name)
	}
	return m
}

func refused(o *strictjson.Object) *RefusedDispatch {
	inner := o.OptObject("refused")
	if inner == nil {
		return nil
	}
	return &RefusedDispatch{RolloutID: named(inner, "rolloutId", MaxRolloutID), Reason: text(inner, "reason", MaxText)}
}
