package wire

import (
	"fmt"
	"time"

	"nixfleet/host"
)

// RecordMessage is an agent's whole record of one rollout, sent after a fork or when the control plane asks for it.
type RecordMessage struct {
	Hostname  string
	RolloutID string
	Record    *host.Record // nil: the agent has none, the mirror's means Pending again
	Epoch     string
	At        time.Time
	Signature string // hex, over the RFC 8785 form of the message without it; "" if unsigned
}

// Encode gives the body of the message.
func (m *RecordMessage) Encode() []byte {
	o := open(nil)
	o.str("hostname", m.Hostname)
	o.str("rolloutId", m.RolloutID)
	if m.Record == nil {
		o.null("record")
	} else {
		o.key("record")
		o.buf = AppendRecord(o.buf, m.Record)
	}
	o.str("epoch", m.Epoch)
	o.time("at", m.At)
	o.optStr("signature", m.Signature)
	return o.close()
}

// DecodeRecordMessage reads the message. The record in it, where there is one, must be of the host and rollout named
// beside it; nothing else about it is believed yet.
func DecodeRecordMessage(data []byte) (RecordMessage, error) {
	o, err := parse(data)
	if err != nil {
		return RecordMessage{}, fmt.Errorf("wire: record message: %w", err)
	}
	m := RecordMessage{
		Hostname:  named(o, "hostname", MaxHostname),
		RolloutID: named(o, "rolloutId", MaxRolloutID),
		Epoch:     text(o, "epoch", MaxHash),
		At:        o.Time("at"),
		Signature: optText(o, "signature", MaxSignature),
	}
	switch {
	case !o.Defined("record"):
		o.Fail("record", "missing, want an object or null")
	case o.Has("record"):
		inner := o.Object("record")
		r, err := DecodeRecord(inner)
		if err != nil {
			return RecordMessage{}, err
		}
		if r.Hostname != m.Hostname || r.RolloutID != m.RolloutID {
			inner.Fail("", "of host %q in rollout %q, not of those the message names", r.Hostname, r.RolloutID)
		}
		m.Record = &r
	}
	if err := o.Err(); err != nil {
		return RecordMessage{}, fmt.Errorf("wire: record message: %w", err)
	}
	return m, nil
}
