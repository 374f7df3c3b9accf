package wire

import (
	"bytes"
	"fmt"
	"time"
)

// Dispatch tells a host that it is its turn. It is advice: what the host does is in its signed ticket.
type Dispatch struct {
	Hostname      string
	RolloutID     string
	TargetClosure string
	SoakDueAt     time.Time
	EnqueuedAt    time.Time
	Wave          uint32
	HasWave       bool   // an original control plane does not say
	TicketHash    string // hex policy hash of the ticket, "" from an original control plane
}

// Encode gives the body of a dispatch.
func (d *Dispatch) Encode() []byte {
	o := open(nil)
	o.str("hostname", d.Hostname)
	o.str("rollout_id", d.RolloutID)
	o.str("target_closure", d.TargetClosure)
	o.time("soak_due_at", d.SoakDueAt)
	o.time("enqueued_at", d.EnqueuedAt)
	if d.HasWave {
		o.uint("wave", uint64(d.Wave))
	}
	o.optStr("ticket_hash", d.TicketHash)
	return o.close()
}

// DecodeDispatch reads a dispatch; ok is false for null, which says that there is none.
func DecodeDispatch(data []byte) (d Dispatch, ok bool, err error) {
	if string(bytes.TrimSpace(data)) == "null" {
		return Dispatch{}, false, nil
	}
	o, err := parse(data)
	if err != nil {
		return Dispatch{}, false, fmt.Errorf("wire: dispatch: %w", err)
	}
	d = Dispatch{
		Hostname:      named(o, "hostname", MaxHostname),
		RolloutID:     named(o, "rollout_id", MaxRolloutID),
		TargetClosure: named(o, "target_closure", MaxClosure),
		SoakDueAt:     o.Time("soak_due_at"),
		EnqueuedAt:    o.Time("enqueued_at"),
		Wave:          o.OptUint32("wave"),
		HasWave:       o.Has("wave"),
		TicketHash:    optText(o, "ticket_hash", MaxHash),
	}
	if err := o.Err(); err != nil {
		return Dispatch{}, false, fmt.Errorf("wire: dispatch: %w", err)
	}
	return d, true, nil
}
