package wire

import (
	"fmt"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// Envelope carries one event from an agent. Its signature is over the RFC 8785 form of the message without it, so
// whoever checks it needs the message as received, not this value.
type Envelope struct {
	Hostname  string
	RolloutID string
	Kind      string // as on the wire, such as "DispatchAck"
	Seq       uint64
	Event     host.Event
	RawEvent  []byte // the event's exact bytes; aliases the message it was read from
	Signature string // hex, "" if unsigned
	Epoch     string // the journal's, "" from agents that have none
	// After, when HasAfter is set, states a hole: nothing between it and Seq will ever be sent.
	After    uint64
	HasAfter bool
}

// DecodeEnvelope reads one envelope.
func DecodeEnvelope(data []byte) (Envelope, error) {
	o, err := parse(data)
	if err != nil {
		return Envelope{}, fmt.Errorf("wire: envelope: %w", err)
	}
	return DecodeEnvelopeObject(o)
}

// DecodeEnvelopeObject reads one envelope that is part of a larger document.
func DecodeEnvelopeObject(o *strictjson.Object) (Envelope, error) {
	e := Envelope{
		Hostname:  named(o, "hostname", MaxHostname),
		RolloutID: named(o, "rolloutId", MaxRolloutID),
		Signature: optText(o, "signature", MaxSignature),
		Epoch:     optText(o, "epoch", MaxHash),
		After:     o.OptUint64("after"),
		HasAfter:  o.Has("after"),
	}
	event := o.Object("event")
	if err := o.Err(); err != nil {
		return Envelope{}, fmt.Errorf("wire: envelope: %w", err)
	}
	var err error
	if e.Seq, e.Event, err = decodeEvent(event); err != nil {
		return Envelope{}, fmt.Errorf("wire: envelope: %w", err)
	}
	e.Kind, e.RawEvent = EventKind(e.Event), event.Raw()
	return e, nil
}

// Append appends the envelope: with RawEvent as its event where that is set, else with Event and Seq.
func (e *Envelope) Append(dst []byte) []byte {
	o := open(dst)
	o.str("hostname", e.Hostname)
	o.str("rolloutId", e.RolloutID)
	o.key("event")
	if e.RawEvent != nil {
		o.buf = append(o.buf, e.RawEvent...)
	} else {
		o.buf = AppendEvent(o.buf, e.Seq, e.Event)
	}
	o.optStr("epoch", e.Epoch)
	if e.HasAfter {
		o.uint("after", e.After)
	}
	o.optStr("signature", e.Signature)
	return o.close()
}
