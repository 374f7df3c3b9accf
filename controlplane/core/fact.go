package core

import (
	"encoding/json"
	"fmt"
	"time"

	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// Fact is a decision of the control plane, or what it found out by itself: one row of the log each.
//
//sumtype:decl
type Fact interface{ isFact() }

// RecordOpened makes the mirror's record of a host in a rollout, or puts another one in place of a Pending one.
type RecordOpened struct{ Record host.Record }

// DispatchQueued gives a host its turn.
type DispatchQueued struct {
	Record   host.Record // Pending
	Dispatch wire.Dispatch
}

// DispatchWritten: the dispatch, completed by the ticket, was part of a response.
type DispatchWritten struct{ Dispatch wire.Dispatch }

// DispatchWithdrawn takes a dispatch back.
type DispatchWithdrawn struct{ Reason string }

// EventStepped: an event that was parked is stepped now, the rollout being known. Row is where it is.
type EventStepped struct {
	Row      uint64
	Diverged string // why the mirror refused it, "" if it did not
}

// HostHeld: the host gets no dispatch until it is released.
type HostHeld struct{ Kind, Reason string }

// HostReleased ends a hold.
type HostReleased struct{ Kind, Reason string }

// QuarantineInserted refuses a closure on a channel.
type QuarantineInserted struct{ Channel, Closure, Reason string }

// QuarantineCleared lets it go out again.
type QuarantineCleared struct{ Channel, Closure, By string }

// RolloutStepped: the rollout's machine took an event.
type RolloutStepped struct{ Event rollout.Event }

func (RecordOpened) isFact()       {}
func (DispatchQueued) isFact()     {}
func (DispatchWritten) isFact()    {}
func (DispatchWithdrawn) isFact()  {}
func (EventStepped) isFact()       {}
func (HostHeld) isFact()           {}
func (HostReleased) isFact()       {}
func (QuarantineInserted) isFact() {}
func (QuarantineCleared) isFact()  {}
func (RolloutStepped) isFact()     {}

// AllFacts holds one value of every fact type; a test compares it with the types that carry the marker.
var AllFacts = []Fact{
	RecordOpened{},
	DispatchQueued{},
	DispatchWritten{},
	DispatchWithdrawn{},
	EventStepped{},
	HostHeld{},
	HostReleased{},
	QuarantineInserted{},
	QuarantineCleared{},
	RolloutStepped{},
}

// The kinds of rows that are not events of an agent. Those of a rollout's events are the names of their types.
const (
	kindRecordOpened       = "RecordOpened"
	kindDispatchQueued     = "DispatchQueued"
	kindDispatchWritten    = "DispatchWritten"
	kindDispatchWithdrawn  = "DispatchWithdrawn"
	kindEventStepped       = "EventStepped"
	kindHostHeld           = "HostHeld"
	kindHostReleased       = "HostReleased"
	kindQuarantineInserted = "QuarantineInserted"
	kindQuarantineCleared  = "QuarantineCleared"
	kindRecordReported     = "RecordReported" // a record message, as received
)

// factBody is the JSON of every fact: a kind uses the members that concern it.
type factBody struct {
	Record   json.RawMessage `json:"record,omitempty"`
	Dispatch json.RawMessage `json:"dispatch,omitempty"`
	Row      uint64          `json:"row,omitempty"`
	Diverged string          `json:"diverged,omitempty"`
	Hold     string          `json:"hold,omitempty"`
	Channel  string          `json:"channel,omitempty"`
	Closure  string          `json:"closure,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	By       string          `json:"by,omitempty"`
	rolloutBody
}

// rolloutBody is the part of an event of a rollout's machine.
type rolloutBody struct {
	Waves     uint32    `json:"waves,omitempty"`
	Wave      uint32    `json:"wave,omitempty"`
	Host      string    `json:"hostname,omitempty"`
	Hosts     []string  `json:"hosts,omitempty"`
	Waive     bool      `json:"waiveWave,omitempty"`
	Successor string    `json:"successor,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// encodeFact gives the row kind and the payload of a fact.
func encodeFact(f Fact) (kind string, payload []byte, err error) {
	var b factBody
	switch f := f.(type) {
	case RecordOpened:
		kind, b.Record = kindRecordOpened, wire.AppendRecord(nil, &f.Record)
	case DispatchQueued:
		kind, b.Record, b.Dispatch = kindDispatchQueued, wire.AppendRecord(nil, &f.Record), f.Dispatch.Encode()
	case DispatchWritten:
		kind, b.Dispatch = kindDispatchWritten, f.Dispatch.Encode()
	case DispatchWithdrawn:
		kind, b.Reason = kindDispatchWithdrawn, f.Reason
	case EventStepped:
		kind, b.Row, b.Diverged = kindEventStepped, f.Row, f.Diverged
	case HostHeld:
		kind, b.Hold, b.Reason = kindHostHeld, f.Kind, f.Reason
	case HostReleased:
		kind, b.Hold, b.Reason = kindHostReleased, f.Kind, f.Reason
	case QuarantineInserted:
		kind, b.Channel, b.Closure, b.Reason = kindQuarantineInserted, f.Channel, f.Closure, f.Reason
	case QuarantineCleared:
		kind, b.Channel, b.Closure, b.By = kindQuarantineCleared, f.Channel, f.Closure, f.By
	case RolloutStepped:
		kind, err = b.encodeRollout(f.Event)
	}
	if err != nil {
		return "", nil, err
	}
	if kind == "" {
		return "", nil, fmt.Errorf("core: unknown fact %T", f)
	}
	payload, err = json.Marshal(&b)
	if err != nil {
		return "", nil, fmt.Errorf("core: encode %s: %w", kind, err)
	}
	return kind, payload, nil
}

// decodeFact reads the payload of a row of that kind; ok is false for a kind that is no fact.
func decodeFact(kind string, payload []byte) (f Fact, ok bool, err error) {
	var b factBody
	if err := json.Unmarshal(payload, &b); err != nil {
		return nil, false, fmt.Errorf("core: decode %s: %w", kind, err)
	}
	switch kind {
	case kindRecordOpened:
		r, err := decodeRecord(b.Record)
		return RecordOpened{Record: r}, true, err
	case kindDispatchQueued:
		r, err := decodeRecord(b.Record)
		if err != nil {
			return nil, true, err
		}
		d, _, err := wire.DecodeDispatch(b.Dispatch)
		return DispatchQueued{Record: r, Dispatch: d}, true, err
	case kindDispatchWritten:
		d, _, err := wire.DecodeDispatch(b.Dispatch)
		return DispatchWritten{Dispatch: d}, true, err
	case kindDispatchWithdrawn:
		return DispatchWithdrawn{Reason: b.Reason}, true, nil
	case kindEventStepped:
		return EventStepped{Row: b.Row, Diverged: b.Diverged}, true, nil
	case kindHostHeld:
		return HostHeld{Kind: b.Hold, Reason: b.Reason}, true, nil
	case kindHostReleased:
		return HostReleased{Kind: b.Hold, Reason: b.Reason}, true, nil
	case kindQuarantineInserted:
		return QuarantineInserted{Channel: b.Channel, Closure: b.Closure, Reason: b.Reason}, true, nil
	case kindQuarantineCleared:
		return QuarantineCleared{Channel: b.Channel, Closure: b.Closure, By: b.By}, true, nil
	}
	e, ok := b.decodeRollout(kind)
	return RolloutStepped{Event: e}, ok, nil
}

func decodeRecord(data []byte) (host.Record, error) {
	v, err := strictjson.Parse(data, strictjson.DefaultLimits)
	if err != nil {
		return host.Record{}, err
	}
	return wire.DecodeRecord(v.Object())
}
