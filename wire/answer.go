package wire

import (
	"fmt"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// HeartbeatAnswer is what the control plane says to a heartbeat.
type HeartbeatAnswer struct {
	ReceivedAt time.Time
	Bootstrap  []Snapshot        // what the mirror knows of the host, for an agent that lost its journal
	ReplayFrom map[string]uint64 // per rollout: resend every event with a seq above it
	WantRecord []string          // rollout ids whose record the mirror asks for
}

// Encode gives the body of the answer.
func (a *HeartbeatAnswer) Encode() []byte {
	o := open(nil)
	o.time("received_at", a.ReceivedAt)
	if len(a.Bootstrap) > 0 {
		o.key("bootstrap_rollouts")
		o.buf = append(o.buf, '[')
		for i := range a.Bootstrap {
			o.buf = a.Bootstrap[i].Append(comma(o.buf, i))
		}
		o.buf = append(o.buf, ']')
	}
	if len(a.ReplayFrom) > 0 {
		o.seqs("replay_from", a.ReplayFrom)
	}
	if len(a.WantRecord) > 0 {
		o.strs("want_record", a.WantRecord)
	}
	return o.close()
}

// DecodeHeartbeatAnswer reads the answer to a heartbeat.
func DecodeHeartbeatAnswer(data []byte) (HeartbeatAnswer, error) {
	o, err := parse(data)
	if err != nil {
		return HeartbeatAnswer{}, fmt.Errorf("wire: heartbeat answer: %w", err)
	}
	a := HeartbeatAnswer{ReceivedAt: o.Time("received_at"), ReplayFrom: seqs(o, "replay_from")}
	list := o.OptObjects("bootstrap_rollouts")
	most(o, "bootstrap_rollouts", len(list), MaxHostRollouts)
	for _, s := range list {
		a.Bootstrap = append(a.Bootstrap, decodeSnapshot(s))
	}
	if o.Has("want_record") {
		a.WantRecord = names(o, "want_record", MaxHostRollouts, MaxRolloutID)
	}
	if err := o.Err(); err != nil {
		return HeartbeatAnswer{}, fmt.Errorf("wire: heartbeat answer: %w", err)
	}
	return a, nil
}

// Snapshot is what the mirror knows of one host in one rollout: the record without its probes.
type Snapshot struct {
	RolloutID                string
	Hostname                 string
	Channel                  string
	State                    host.State
	TargetClosure            string
	CurrentClosureAtDispatch string
	CurrentClosure           string
	DispatchedAt             time.Time
	DispatchAckedAt          time.Time
	ActivationStartedAt      time.Time
	ActivationCompletedAt    time.Time
	SoakDueAt                time.Time
	LastEventSeq             uint64

	Wave              uint32
	HasWave           bool // an original control plane does not say
	PolicyHash        string
	PolicyApplied     host.OnFailure
	RollbackAttempts  uint32
	RevertedTo        string
	DeferredComponent string
}

// SnapshotOf gives the snapshot of a record.
func SnapshotOf(r *host.Record) Snapshot {
	return Snapshot{
		RolloutID: r.RolloutID, Hostname: r.Hostname, Channel: r.Channel, State: r.State, TargetClosure: r.TargetClosure,
		CurrentClosureAtDispatch: r.CurrentClosureAtDispatch, CurrentClosure: r.CurrentClosure,
		DispatchedAt: r.DispatchedAt, DispatchAckedAt: r.DispatchAckedAt,
		ActivationStartedAt: r.ActivationStartedAt, ActivationCompletedAt: r.ActivationCompletedAt,
		SoakDueAt: r.SoakDueAt, LastEventSeq: r.LastEventSeq,
		Wave: r.Wave, HasWave: true, PolicyHash: r.PolicyHash, PolicyApplied: r.PolicyApplied,
		RollbackAttempts: r.RollbackAttempts, RevertedTo: r.RevertedTo, DeferredComponent: r.DeferredComponent,
	}
}

// Append appends the JSON of a snapshot.
func (s *Snapshot) Append(dst []byte) []byte {
	o := open(dst)
	o.str("rolloutId", s.RolloutID)
	o.str("hostname", s.Hostname)
	o.str("channel", s.Channel)
	o.str("state", s.State.String())
	o.str("targetClosure", s.TargetClosure)
	o.optStr("currentClosureAtDispatch", s.CurrentClosureAtDispatch)
	o.optStr("currentClosure", s.CurrentClosure)
	o.time("dispatchedAt", s.DispatchedAt)
	o.optTime("dispatchAckedAt", s.DispatchAckedAt)
	o.optTime("activationStartedAt", s.ActivationStartedAt)
	o.optTime("activationCompletedAt", s.ActivationCompletedAt)
	o.optTime("soakDueAt", s.SoakDueAt)
	o.uint("lastEventSeq", s.LastEventSeq)
	if s.HasWave {
		o.uint("wave", uint64(s.Wave))
	}
	o.optStr("policyHash", s.PolicyHash)
	if s.PolicyApplied != host.NoPolicy {
		o.str("policyApplied", s.PolicyApplied.String())
	}
	if s.RollbackAttempts > 0 {
		o.uint("rollbackAttempts", uint64(s.RollbackAttempts))
	}
	o.optStr("revertedTo", s.RevertedTo)
	o.optStr("deferredComponent", s.DeferredComponent)
	return o.close()
}

func decodeSnapshot(o *strictjson.Object) Snapshot {
	s := Snapshot{
		RolloutID:                named(o, "rolloutId", MaxRolloutID),
		Hostname:                 named(o, "hostname", MaxHostname),
		Channel:                  named(o, "channel", MaxChannel),
		State:                    state(o, "state"),
		TargetClosure:            named(o, "targetClosure", MaxClosure),
		CurrentClosureAtDispatch: optText(o, "currentClosureAtDispatch", MaxClosure),
		CurrentClosure:           optText(o, "currentClosure", MaxClosure),
		DispatchedAt:             o.Time("dispatchedAt"),
		DispatchAckedAt:          o.OptTime("dispatchAckedAt"),
		ActivationStartedAt:      o.OptTime("activationStartedAt"),
		ActivationCompletedAt:    o.OptTime("activationCompletedAt"),
		SoakDueAt:                o.OptTime("soakDueAt"),
		LastEventSeq:             o.Uint64("lastEventSeq"),
		Wave:                     o.OptUint32("wave"),
		HasWave:                  o.Has("wave"),
		PolicyHash:               optText(o, "policyHash", MaxHash),
		RollbackAttempts:         o.OptUint32("rollbackAttempts"),
		RevertedTo:               optText(o, "revertedTo", MaxClosure),
		DeferredComponent:        optText(o, "deferredComponent", MaxText),
	}
	if o.Has("policyApplied") {
		s.PolicyApplied = onFailure(o, "policyApplied")
	}
	return s
}
