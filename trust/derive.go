package trust

import (
	"fmt"

	"nixfleet/fleet"
)

// ErrOtherFleet means that a manifest was made from another fleet than the one at hand.
var ErrOtherFleet = fmt.Errorf("%w: the manifest was made from another fleet", ErrParse)

// DeriveTicket makes a host's ticket from whole documents, for a control plane that has no tickets: what the manifest
// says of the host, and what the fleet it was made from says of its policy. It is as old as the manifest, whose
// signature it carries. Errors are [ErrOtherFleet], and of class [ErrParse] for a host that the manifest does not list.
// docs/design/05-trust.md.
func DeriveTicket(m Verified[*fleet.Manifest], f Verified[*fleet.Fleet], hostname string) (Verified[*fleet.Ticket], error) {
	var none Verified[*fleet.Ticket]
	if m.IsZero() || f.IsZero() || m.value.FleetResolvedHash != f.canonHash {
		return none, ErrOtherFleet
	}
	tickets, err := fleet.BuildTickets(f.value, m.value)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrParse, err)
	}
	for t := range tickets {
		if t.Hostname != hostname {
			continue
		}
		raw, err := t.Encode()
		if err != nil {
			return none, fmt.Errorf("%w: %w", ErrParse, err)
		}
		canonical, err := Canonical(raw)
		if err != nil {
			return none, err
		}
		return Verified[*fleet.Ticket]{value: t, signedAt: m.signedAt, raw: canonical, sig: m.sig, canonHash: Hash(canonical)}, nil
	}
	return none, fmt.Errorf("%w: %s does not list the host %q", ErrParse, m.value.ID(), hostname)
}
