package fleet

import (
	"fmt"
	"slices"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// Ticket is the signed page for one host in one rollout, and all an agent reads. docs/design/05-trust.md.
type Ticket struct {
	SchemaVersion    uint64
	Hostname         string
	RolloutID        RolloutID
	Channel          string
	Wave             uint32
	TargetClosure    string
	SoakSeconds      uint64
	Policy           TicketPolicy
	FreshnessSeconds uint64 // how long after SignedAt it may be accepted
	FleetHash        string // hex SHA-256 of the canonical bytes of the fleet it was made from
	SignedAt         time.Time
}

// TicketPolicy is what the channel's rollout policy says about one host, resolved.
type TicketPolicy struct {
	OnHealthFailure          host.OnFailure
	SustainedFailureSeconds  uint64
	ActivationTimeoutSeconds uint64
	HealthGate               []byte // raw JSON, nil if there is none; carried, not interpreted
	// Raw is the policy exactly as the document has it, fields unknown to us included: the policy's hash is over
	// these. nil in a ticket that was built and not read.
	Raw []byte
}

// HostPolicy returns the policy that Step takes for this host, captured: its soak is the ticket's.
func (t *Ticket) HostPolicy() host.Policy {
	return host.Policy{
		OnHealthFailure:          t.Policy.OnHealthFailure,
		SoakSeconds:              t.SoakSeconds,
		HasSoak:                  true,
		HealthGate:               t.Policy.HealthGate,
		SustainedFailureSeconds:  t.Policy.SustainedFailureSeconds,
		ActivationTimeoutSeconds: t.Policy.ActivationTimeoutSeconds,
	}
}

// Freshness returns FreshnessSeconds as a duration.
func (t *Ticket) Freshness() time.Duration { return time.Duration(t.FreshnessSeconds) * time.Second }

// MaxTicket bounds one ticket in bytes: ten times what one of ours takes, most of it for a health gate.
const MaxTicket = 64 << 10

// ParseTicket reads a ticket of at most 64 KiB, as [ParseFleet] reads a fleet. A channel that is not that of the
// rollout id is refused.
func ParseTicket(data []byte) (*Ticket, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxTicket, Depth: strictjson.DocumentLimits.Depth})
	if err != nil {
		return nil, fmt.Errorf("%w: ticket: %w", ErrDocument, err)
	}
	o := v.Object()
	t := &Ticket{
		SchemaVersion:    o.Uint64("schemaVersion"),
		Hostname:         hostname(o, "hostname"),
		Channel:          text(o, "channel", MaxName),
		Wave:             o.Uint32("wave"),
		TargetClosure:    closure(o, "targetClosure"),
		SoakSeconds:      number(o, "soakSeconds", 0, host.MaxSoakSeconds),
		FreshnessSeconds: number(o, "freshnessSeconds", 1, host.MaxSoakSeconds),
		FleetHash:        hash(o, "fleetHash"),
		SignedAt:         o.OptTime("signedAt"),
	}
	if t.Wave >= MaxWaves {
		o.Fail("wave", "%d, want less than %d", t.Wave, MaxWaves)
	}
	if id := o.String("rolloutId"); o.Err() == nil {
		if t.RolloutID, err = ParseRolloutID(id); err != nil {
			o.Fail("rolloutId", "%v", err)
		} else if t.RolloutID.Channel() != t.Channel {
			o.Fail("channel", "%q is not the channel of rollout %q", t.Channel, id)
		}
	}
	if p := o.Object("policy"); o.Err() == nil {
		t.Policy = TicketPolicy{
			OnHealthFailure:          onFailure(p, "onHealthFailure"),
			SustainedFailureSeconds:  number(p, "sustainedFailureSeconds", 0, host.MaxSoakSeconds),
			ActivationTimeoutSeconds: number(p, "activationTimeoutSeconds", 0, host.MaxSoakSeconds),
			HealthGate:               optRaw(p, "healthGate"),
			Raw:                      slices.Clone(p.Raw()),
		}
	}
	if err := finish("ticket", o); err != nil {
		return nil, err
	}
	return t, nil
}
