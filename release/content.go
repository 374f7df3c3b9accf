package release

import (
	"bytes"
	"errors"
	"fmt"

	"nixfleet/fleet"
	"nixfleet/strictjson"
	"nixfleet/trust"
)

// addWaves returns the member "waves" of the source with the channels that it leaves out.
func addWaves(source []byte, f, resolved *fleet.Fleet) ([]byte, error) {
	missing := &fleet.Fleet{Waves: map[string][]fleet.Wave{}}
	for channel, waves := range resolved.Waves {
		if _, written := f.Waves[channel]; !written {
			missing.Waves[channel] = waves
		}
	}
	added, err := missing.EncodeMember("waves")
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	v, err := strictjson.Parse(source, strictjson.DocumentLimits)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	written, ok := v.Get("waves")
	if !ok || written.Kind != strictjson.Map {
		return added, nil
	}
	addedValue, err := strictjson.Parse(added, strictjson.DocumentLimits)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	var set []member
	for channel, waves := range addedValue.Members() {
		set = append(set, member{channel, waves.Raw})
	}
	return patchValue(written, len(written.Raw)+len(added), set)
}

// manifestContent returns what a manifest says beside when it was signed and what follows from that.
func manifestContent(raw []byte) ([]byte, error) {
	bare, err := patchMeta(raw, []member{{"signedAt", nil}, {"signatureAlgorithm", nil}}, member{"fleetResolvedHash", nil})
	if err != nil {
		return nil, err
	}
	canonical, err := trust.Canonical(bare)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return canonical, nil
}

// checkUnused refuses a ref that the channel has had. A manifest newer than the fleet in force is what an interrupted
// release left: no fleet has named it, and the release may be finished with the same content.
func (p *prepared) checkUnused(m *fleet.Manifest) error {
	if p.was.dir == nil {
		return nil
	}
	doc, err := p.was.dir.Manifest(m.ID())
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := fleet.ParseManifest(doc.Raw)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrRefUsed, m.ID(), err)
	}
	if p.was.fleet != nil && !old.Meta.SignedAt.After(p.was.fleet.Meta.SignedAt) {
		return fmt.Errorf("%w: %s: going back, or on, is a new ref", ErrRefUsed, m.ID())
	}
	return p.sameContent(m, doc.Raw)
}

func (p *prepared) sameContent(m *fleet.Manifest, oldRaw []byte) error {
	raw, err := m.Encode()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	now, err := manifestContent(raw)
	if err != nil {
		return err
	}
	was, err := manifestContent(oldRaw)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, was) {
		return fmt.Errorf("%w: %s: the manifest of an interrupted release differs: take a new ref", ErrContent, m.ID())
	}
	return p.sameTickets(m)
}

func (p *prepared) sameTickets(m *fleet.Manifest) (err error) {
	tickets, err := p.was.dir.Tickets(m.ID())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tickets.Close()) }()
	built, err := fleet.BuildTickets(p.fleet, m)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	for t := range built {
		doc, err := tickets.Ticket(t.Hostname)
		if err != nil {
			return err
		}
		old, err := fleet.ParseTicket(doc.Raw)
		if err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if trust.PolicyHash(old) != trust.PolicyHash(t) || old.FreshnessSeconds != t.FreshnessSeconds {
			return fmt.Errorf("%w: %s: the ticket of host %q differs: take a new ref", ErrContent, m.ID(), t.Hostname)
		}
	}
	return nil
}
