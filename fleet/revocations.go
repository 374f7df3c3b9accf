package fleet

import (
	"time"

	"nixfleet/strictjson"
)

// MaxRevocations bounds revocations.json: every host may be revoked and enrolled again.
const MaxRevocations = MaxHosts

// Revocations is the signed list of hosts whose older certificates are refused. docs/design/05-trust.md.
type Revocations struct {
	SchemaVersion uint64
	Revocations   []Revocation
	Meta          Meta
}

// Revocation refuses the certificates of a host that were issued before NotBefore.
type Revocation struct {
	Hostname  string
	NotBefore time.Time
	Reason    string
}

// Revoked says whether a certificate of that host issued at that time is refused.
func (r *Revocations) Revoked(hostname string, issued time.Time) bool {
	for i := range r.Revocations {
		if r.Revocations[i].Hostname == hostname && issued.Before(r.Revocations[i].NotBefore) {
			return true
		}
	}
	return false
}

// ParseRevocations reads a revocations.json of at most 32 MiB, as [ParseFleet] reads a fleet.
func ParseRevocations(data []byte) (*Revocations, error) {
	o, err := document(data)
	if err != nil {
		return nil, err
	}
	r := &Revocations{SchemaVersion: o.Uint64("schemaVersion"), Meta: parseMeta(o)}
	list := o.Objects("revocations")
	if len(list) > MaxRevocations {
		o.Fail("revocations", "%d entries, at most %d allowed", len(list), MaxRevocations)
		list = nil
	}
	for _, e := range list {
		r.Revocations = append(r.Revocations, parseRevocation(e))
	}
	if err := finish("revocations", o); err != nil {
		return nil, err
	}
	return r, nil
}

func parseRevocation(o *strictjson.Object) Revocation {
	return Revocation{
		Hostname:  hostname(o, "hostname"),
		NotBefore: o.Time("notBefore"),
		Reason:    optText(o, "reason", MaxReason),
	}
}
