package source

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/fleet"
	"nixfleet/release"
	"nixfleet/trust"
)

// MaxRollouts bounds how many rollouts a source may list: a release a day for ten years.
const MaxRollouts = 4096

// Reader is where documents come from.
type Reader interface {
	Fleet() (release.Document, error)
	Revocations() (release.Document, error)
	Rollouts() ([]fleet.RolloutID, error)
	Manifest(id fleet.RolloutID) (release.Document, error)
	Ticket(id fleet.RolloutID, hostname string) (release.Document, error)
}

// Keeper verifies what a source has and keeps the last good of each document.
type Keeper struct {
	from  Reader
	roots *trust.File

	documents   *core.Documents
	complete    bool // the last look at the manifests found nothing wrong
	revocations trust.Verified[*fleet.Revocations]
}

// NewKeeper keeps nothing yet.
func NewKeeper(from Reader, roots *trust.File) *Keeper {
	return &Keeper{from: from, roots: roots, documents: &core.Documents{Manifests: map[string]trust.Verified[*fleet.Manifest]{}}}
}

// Refresh reads the source and returns the documents in force and whether they changed. The error joins what was
// refused or could not be read; the documents are good all the same.
func (k *Keeper) Refresh(now time.Time) (d *core.Documents, changed bool, err error) {
	next := &core.Documents{Fleet: k.documents.Fleet, Manifests: map[string]trust.Verified[*fleet.Manifest]{}}
	var problems []error
	v, fresh, err := refresh(k.from.Fleet, k.documents.Fleet, func(s release.Document) (trust.Verified[*fleet.Fleet], error) {
		return trust.VerifyFleet(s.Raw, s.Sig, k.roots, now, trust.AnyAge)
	})
	next.Fleet, changed = v, fresh
	if err != nil {
		problems = append(problems, fmt.Errorf("source: the fleet: %w", err))
	}
	// A release puts the fleet in place last. While it is the same, and all was well, there is nothing else to find.
	if fresh || err != nil || !k.complete {
		more, err := k.manifests(next, now)
		k.complete, changed = err == nil, changed || more
		problems = append(problems, err)
	} else {
		next.Manifests = k.documents.Manifests
	}
	if err := k.refreshRevocations(now); err != nil {
		problems = append(problems, fmt.Errorf("source: the revocations: %w", err))
	}
	if changed {
		k.documents = next
	}
	return k.documents, changed, errors.Join(problems...)
}

// manifests fills in the manifest of every rollout that has a good one and says whether any is new or gone.
func (k *Keeper) manifests(next *core.Documents, now time.Time) (changed bool, err error) {
	ids, err := k.from.Rollouts()
	if err != nil {
		next.Manifests = k.documents.Manifests // what cannot be listed is not gone
		return false, err
	}
	var problems []error
	if len(ids) > MaxRollouts {
		problems = append(problems, fmt.Errorf("source: %d rollouts, at most %d are looked at: remove old ones", len(ids), MaxRollouts))
		ids = ids[:MaxRollouts]
	}
	for _, id := range ids {
		v, fresh, err := k.manifest(id, now)
		if err != nil {
			problems = append(problems, fmt.Errorf("source: rollout %s: %w", id, err))
		}
		if !v.IsZero() {
			next.Manifests[id.String()] = v
			changed = changed || fresh
		}
	}
	return changed || len(next.Manifests) != len(k.documents.Manifests), errors.Join(problems...)
}

func (k *Keeper) manifest(id fleet.RolloutID, now time.Time) (trust.Verified[*fleet.Manifest], bool, error) {
	read := func() (release.Document, error) { return k.from.Manifest(id) }
	return refresh(read, k.documents.Manifests[id.String()], func(s release.Document) (trust.Verified[*fleet.Manifest], error) {
		v, err := trust.VerifyManifest(s.Raw, s.Sig, k.roots, now, trust.AnyAge)
		if err != nil {
			return v, err
		}
		return v, trust.CheckRollout(v, id)
	})
}

func (k *Keeper) refreshRevocations(now time.Time) error {
	v, _, err := refresh(k.from.Revocations, k.revocations, func(s release.Document) (trust.Verified[*fleet.Revocations], error) {
		return trust.VerifyRevocations(s.Raw, s.Sig, k.roots, now, trust.AnyAge)
	})
	if errors.Is(err, ErrNotFound) {
		return nil // a fleet that never revoked anything
	}
	k.revocations = v
	return err
}

// Revocations returns the revocations in force; its Value is nil where there are none.
func (k *Keeper) Revocations() trust.Verified[*fleet.Revocations] { return k.revocations }

// refresh gives what the source has now if it is good and newer, else the last good. Going back to an older signature
// is refused: it would take an old document, validly signed, in place of a newer one.
func refresh[T any](read func() (release.Document, error), last trust.Verified[T], verify func(release.Document) (trust.Verified[T], error)) (trust.Verified[T], bool, error) {
	s, err := read()
	if err != nil {
		return last, false, err
	}
	if !last.IsZero() && bytes.Equal(s.Raw, last.Raw()) && bytes.Equal(s.Sig, last.Signature()) {
		return last, false, nil
	}
	v, err := verify(s)
	if err != nil {
		return last, false, err
	}
	if !last.IsZero() && v.SignedAt().Before(last.SignedAt()) {
		return last, false, fmt.Errorf("%w: signed %s, in force is one of %s", trust.ErrDowngrade, v.SignedAt().Format(time.RFC3339), last.SignedAt().Format(time.RFC3339))
	}
	return v, true, nil
}

// Ticket reads and verifies the ticket of a host in a rollout, whatever its age. ErrNotFound if there is none.
func (k *Keeper) Ticket(rolloutID, hostname string, now time.Time) (trust.Verified[*fleet.Ticket], error) {
	id, err := fleet.ParseRolloutID(rolloutID)
	if err != nil {
		return trust.Verified[*fleet.Ticket]{}, err
	}
	s, err := k.from.Ticket(id, hostname)
	if err != nil {
		return trust.Verified[*fleet.Ticket]{}, err
	}
	return k.VerifyTicket(s, rolloutID, hostname, now)
}

// VerifyTicket verifies a ticket that came from elsewhere, and that it is the one of that host in that rollout.
func (k *Keeper) VerifyTicket(s release.Document, rolloutID, hostname string, now time.Time) (trust.Verified[*fleet.Ticket], error) {
	v, err := trust.VerifyTicket(s.Raw, s.Sig, k.roots, now, trust.AnyAge)
	if err != nil {
		return v, fmt.Errorf("source: ticket of %s in %s: %w", hostname, rolloutID, err)
	}
	if t := v.Value(); t.Hostname != hostname || t.RolloutID.String() != rolloutID {
		return trust.Verified[*fleet.Ticket]{}, fmt.Errorf("source: the ticket of %s in %s is of %s in %s", hostname, rolloutID, t.Hostname, t.RolloutID)
	}
	return v, nil
}
