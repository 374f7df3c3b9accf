package release

import (
	"errors"
	"fmt"
	"io"
	"time"

	"nixfleet/fleet"
	"nixfleet/trust"
)

// refreshManifest verifies a published manifest and signs its content anew, as part of the fleet being released.
func (p *prepared) refreshManifest(id fleet.RolloutID, r Request) (Document, error) {
	believed, err := r.believed()
	if err != nil {
		return Document{}, err
	}
	doc, err := p.was.dir.Manifest(id)
	if err != nil {
		return Document{}, err
	}
	v, err := trust.VerifyManifest(doc.Raw, doc.Sig, believed, r.At, trust.AnyAge)
	if err != nil {
		return Document{}, fmt.Errorf("release: %s as published: %w", ManifestPath(id), err)
	}
	if err := trust.CheckRollout(v, id); err != nil {
		return Document{}, fmt.Errorf("release: %s as published: %w", ManifestPath(id), err)
	}
	meta, err := signedMeta(r)
	if err != nil {
		return Document{}, err
	}
	hash, err := quoted(p.hash)
	if err != nil {
		return Document{}, err
	}
	raw, err := patchMeta(doc.Raw, meta, member{"fleetResolvedHash", hash})
	if err != nil {
		return Document{}, err
	}
	return signed(r.Signer, raw)
}

// refreshTickets does the same with the tickets of a rollout.
func (p *prepared) refreshTickets(w *writer, id fleet.RolloutID, r Request) (err error) {
	believed, err := r.believed()
	if err != nil {
		return err
	}
	tickets, err := p.was.dir.Tickets(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tickets.Close()) }()
	hash, err := quoted(p.hash)
	if err != nil {
		return err
	}
	at, err := quoted(r.at().Format(time.RFC3339))
	if err != nil {
		return err
	}
	return w.put(TicketsPath(id), func(out io.Writer) error {
		var line []byte
		for doc, err := range tickets.All() {
			if err != nil {
				return err
			}
			v, err := trust.VerifyTicket(doc.Raw, doc.Sig, believed, r.At, trust.AnyAge)
			if err != nil {
				return fmt.Errorf("a ticket as published: %w", err)
			}
			if v.Value().RolloutID != id {
				return fmt.Errorf("%w: the ticket of host %q is of rollout %s", ErrTickets, v.Value().Hostname, v.Value().RolloutID)
			}
			raw, err := patch(doc.Raw, member{"fleetHash", hash}, member{"signedAt", at})
			if err != nil {
				return err
			}
			if line, err = writeTicket(out, line, r.Signer, raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// WriteRevocations signs and publishes the list of revocations, which replaces the one before.
func WriteRevocations(r Request, list []fleet.Revocation) (err error) {
	if err := r.check(); err != nil {
		return err
	}
	raw, err := (&fleet.Revocations{
		SchemaVersion: fleet.SchemaVersion,
		Revocations:   list,
		Meta:          fleet.Meta{SchemaVersion: fleet.SchemaVersion, SignedAt: r.at()},
	}).Encode()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if _, err := fleet.ParseRevocations(raw); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	doc, err := signed(r.Signer, raw)
	if err != nil {
		return err
	}
	w, err := lockDir(r.Dir, r.before)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	return w.document(RevocationsFile, doc)
}
