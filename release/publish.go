package release

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"nixfleet/fleet"
	"nixfleet/trust"
)

// Summary says what was published.
type Summary struct {
	Rollouts  []fleet.RolloutID // opened, in order of channel
	Refreshed []fleet.RolloutID // signed anew with their old content
	Hosts     int               // tickets of the opened rollouts
	SignedAt  time.Time
	FleetHash string
}

// Write validates, resolves, signs and publishes a release. The newest rollouts of the channels that get no new ref are
// verified and signed anew with their content unchanged, as they name the fleet they belong to. Errors are of the
// classes of this package, of trust for what is published already, and of fleet for what is refused.
// docs/design/05-trust.md.
func Write(r Request) (s Summary, err error) {
	if err := r.check(); err != nil {
		return Summary{}, err
	}
	// Nothing is made and nobody locked out for a request that is refused anyway.
	p, err := prepare(r)
	if err != nil {
		return Summary{}, err
	}
	w, err := lockDir(r.Dir, r.before)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if p, err = p.again(r); err != nil {
		return Summary{}, err
	}
	s = Summary{SignedAt: r.at(), FleetHash: p.hash, Refreshed: p.kept}
	for _, m := range p.manifests {
		s.Rollouts = append(s.Rollouts, m.ID())
		s.Hosts += len(m.HostSet)
	}
	return s, p.publish(w, r)
}

// Resign signs the fleet and each channel's newest rollout anew and changes nothing else. It refuses what it cannot
// verify: a signature says that the content is ours.
func Resign(r Request) (s Summary, err error) {
	if err := r.check(); err != nil {
		return Summary{}, err
	}
	if _, err := Open(r.Dir); err != nil {
		return Summary{}, err // a mistyped path is not made
	}
	w, err := lockDir(r.Dir, r.before)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	p, err := prepareResign(r)
	if err != nil {
		return Summary{}, err
	}
	return Summary{SignedAt: r.at(), FleetHash: p.hash, Refreshed: p.kept}, p.publish(w, r)
}

func prepareResign(r Request) (*prepared, error) {
	was, err := r.published()
	if err != nil {
		return nil, err
	}
	if was.fleet == nil {
		return nil, fmt.Errorf("%w: %s: nothing to sign anew", ErrNotFound, FleetFile)
	}
	meta, err := signedMeta(r)
	if err != nil {
		return nil, err
	}
	raw, err := patchMeta(was.raw, meta)
	if err != nil {
		return nil, err
	}
	p := &prepared{was: was, fleet: was.fleet}
	if p.raw, err = trust.CanonicalToSign(raw); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	p.hash = trust.Hash(p.raw)
	for _, channel := range slices.Sorted(maps.Keys(was.fleet.Channels)) {
		if id, ok := was.newest(channel); ok {
			p.kept = append(p.kept, id)
		}
	}
	return p, nil
}

// publish writes tickets, then manifests, then the fleet: whoever sees one finds what it needs.
func (p *prepared) publish(w *writer, r Request) error {
	refreshed := make([]Document, len(p.kept))
	for i, id := range p.kept {
		doc, err := p.refreshManifest(id, r)
		if err != nil {
			return err
		}
		refreshed[i] = doc
	}
	for _, m := range p.manifests {
		if err := p.writeTickets(w, m, r.Signer); err != nil {
			return err
		}
	}
	for _, id := range p.kept {
		if err := p.refreshTickets(w, id, r); err != nil {
			return err
		}
	}
	for _, m := range p.manifests {
		raw, err := m.Encode()
		if err != nil {
			return fmt.Errorf("release: %w", err)
		}
		doc, err := signed(r.Signer, raw)
		if err != nil {
			return err
		}
		if err := w.document(ManifestPath(m.ID()), doc); err != nil {
			return err
		}
	}
	for i, id := range p.kept {
		if err := w.document(ManifestPath(id), refreshed[i]); err != nil {
			return err
		}
	}
	doc, err := signed(r.Signer, p.raw)
	if err != nil {
		return err
	}
	return w.document(FleetFile, doc)
}

// signed returns the canonical form of a document and its signature: what is published is what is signed.
func signed(signer crypto.Signer, raw []byte) (Document, error) {
	canonical, err := trust.CanonicalToSign(raw)
	if err != nil {
		return Document{}, fmt.Errorf("release: %w", err)
	}
	sig, err := trust.SignCanonical(signer, canonical)
	if err != nil {
		return Document{}, fmt.Errorf("release: %w", err)
	}
	return Document{Raw: canonical, Sig: sig}, nil
}

func (p *prepared) writeTickets(w *writer, m *fleet.Manifest, signer crypto.Signer) error {
	tickets, err := fleet.BuildTickets(p.fleet, m)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return w.put(TicketsPath(m.ID()), func(out io.Writer) error {
		var line []byte
		for t := range tickets {
			raw, err := t.Encode()
			if err != nil {
				return err
			}
			if line, err = writeTicket(out, line, signer, raw); err != nil {
				return fmt.Errorf("ticket of host %q: %w", t.Hostname, err)
			}
		}
		return nil
	})
}

// writeTicket signs and writes one line, reusing the last one's memory.
func writeTicket(out io.Writer, line []byte, signer crypto.Signer, raw []byte) ([]byte, error) {
	doc, err := signed(signer, raw)
	if err != nil {
		return line, err
	}
	if len(doc.Raw) > fleet.MaxTicket {
		return line, fmt.Errorf("%w: %d bytes, at most %d allowed: its health gate is too long", ErrTickets, len(doc.Raw), fleet.MaxTicket)
	}
	line = appendTicketLine(line[:0], doc)
	_, err = out.Write(line)
	return line, err
}
