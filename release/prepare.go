package release

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nixfleet/fleet"
	"nixfleet/trust"
)

// Request is what a release is made from.
type Request struct {
	Fleet  []byte            // fleet.resolved.json, unsigned; not needed to resign
	Refs   map[string]string // channel -> ref; empty: meta.ciCommit for every channel with something to roll out
	Dir    string            // where to publish; made if it is missing
	At     time.Time         // now; documents carry it to the second
	Signer crypto.Signer     // Ed25519 or ECDSA P-256; not needed to plan
	// Trust says whose signatures are believed on what is published already, which is refreshed. nil: those of Signer.
	Trust *trust.File

	before func(step string) error // see writer
}

// believed returns whose signatures count on what is there, nil if the request does not say.
func (r Request) believed() (*trust.File, error) {
	if r.Trust != nil || r.Signer == nil {
		return r.Trust, nil
	}
	key, err := trust.PublicKey(r.Signer)
	if err != nil {
		return nil, err
	}
	return &trust.File{CIRelease: trust.Slot{Current: &key}}, nil
}

func (r Request) check() error {
	switch {
	case r.Signer == nil:
		return fmt.Errorf("%w: no key to sign with", ErrRequest)
	case r.Dir == "":
		return fmt.Errorf("%w: no directory to publish to", ErrRequest)
	case r.At.IsZero():
		return fmt.Errorf("%w: no time", ErrRequest)
	}
	return nil
}

// at is the time that documents carry.
func (r Request) at() time.Time { return r.At.UTC().Truncate(time.Second) }

// published is what a directory has before a release.
type published struct {
	dir   *Dir // nil: no directory
	raw   []byte
	fleet *fleet.Fleet // nil: no fleet
}

// readPublished reads the fleet that is in force. With trust it is verified; without, it is good for showing only.
func readPublished(path string, believed *trust.File, now time.Time) (published, error) {
	if path == "" {
		return published{}, nil
	}
	dir, err := Open(path)
	if err != nil {
		return published{}, nil // not there yet
	}
	doc, err := dir.Fleet()
	if errors.Is(err, ErrNotFound) {
		return published{dir: dir}, nil
	}
	if err != nil {
		return published{}, err
	}
	if believed == nil {
		f, err := fleet.ParseFleet(doc.Raw)
		if err != nil {
			return published{}, fmt.Errorf("release: %s as published: %w", FleetFile, err)
		}
		return published{dir: dir, raw: doc.Raw, fleet: f}, nil
	}
	v, err := trust.VerifyFleet(doc.Raw, doc.Sig, believed, now, trust.AnyAge)
	if errors.Is(err, trust.ErrFutureDated) {
		return published{}, fmt.Errorf("%w: %w", ErrClock, err)
	}
	if err != nil {
		return published{}, fmt.Errorf("release: %s as published: %w", FleetFile, err)
	}
	return published{dir: dir, raw: doc.Raw, fleet: v.Value()}, nil
}

// published reads what the request's directory has now. It must not be from after the request.
func (r Request) published() (published, error) {
	believed, err := r.believed()
	if err != nil {
		return published{}, err
	}
	was, err := readPublished(r.Dir, believed, r.At)
	if err == nil && was.fleet != nil && r.at().Before(was.fleet.Meta.SignedAt) {
		err = fmt.Errorf("%w: %s, the clock says %s", ErrClock, was.fleet.Meta.SignedAt.Format(time.RFC3339), r.at().Format(time.RFC3339))
	}
	return was, err
}

// newest returns the newest rollout of a channel as published.
func (p published) newest(channel string) (fleet.RolloutID, bool) {
	if p.fleet == nil {
		return fleet.RolloutID{}, false
	}
	return p.fleet.Newest(channel)
}

// prepared is a release before anything of it is signed.
type prepared struct {
	fleet     *fleet.Fleet // resolved, with its time and refs
	raw       []byte       // its canonical bytes
	hash      string
	manifests []*fleet.Manifest // of the channels that get a new ref, by channel
	kept      []fleet.RolloutID // the newest rollouts of the others
	was       published
}

// prepare validates a request and resolves everything, and changes nothing.
func prepare(r Request) (*prepared, error) {
	f, err := fleet.ParseFleet(r.Fleet)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	if errs := fleet.Lint(f); len(errs) != 0 {
		return nil, fmt.Errorf("release: the fleet must not be released:\n%w", errors.Join(errs...))
	}
	ids, err := refs(f, r.Refs)
	if err != nil {
		return nil, err
	}
	was, err := r.published()
	if err != nil {
		return nil, err
	}
	p := &prepared{was: was}
	if err := p.resolve(r, f, ids); err != nil {
		return nil, err
	}
	for _, id := range ids {
		m, err := fleet.BuildManifest(p.fleet, id, p.hash, r.at())
		if err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
		if err := p.checkUnused(m); err != nil {
			return nil, err
		}
		p.manifests = append(p.manifests, m)
	}
	return p, nil
}

// again makes sure, now that the lock is held, that what was prepared is for the directory as it is.
func (p *prepared) again(r Request) (*prepared, error) {
	believed, err := r.believed()
	if err != nil {
		return nil, err
	}
	was, err := readPublished(r.Dir, believed, r.At)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(was.raw, p.was.raw) {
		return prepare(r)
	}
	p.was = was
	for _, m := range p.manifests {
		if err := p.checkUnused(m); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// refs says which rollouts the release opens, in order of channel.
func refs(f *fleet.Fleet, asked map[string]string) ([]fleet.RolloutID, error) {
	channels := fleet.ReleasableChannels(f)
	if len(asked) == 0 {
		if f.Meta.CICommit == "" {
			return nil, fmt.Errorf("%w: name one for each channel to release (of %s), or say meta.ciCommit in the fleet", ErrNoRef, strings.Join(channels, ", "))
		}
		asked = make(map[string]string, len(channels))
		for _, channel := range channels {
			asked[channel] = f.Meta.CICommit
		}
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("%w: no host of the fleet has a closure, so there is nothing to roll out", ErrNoRef)
	}
	var ids []fleet.RolloutID
	for _, channel := range slices.Sorted(maps.Keys(asked)) {
		if !slices.Contains(channels, channel) {
			return nil, fmt.Errorf("%w: channel %q has nothing to roll out, want one of %s", ErrNoRef, channel, strings.Join(channels, ", "))
		}
		id, err := fleet.NewRolloutID(channel, asked[channel])
		if err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
		if len(id.String()) > MaxID || strings.HasPrefix(channel, ".") {
			return nil, fmt.Errorf("release: %w: %q cannot be a file name: at most %d bytes, no dot first", fleet.ErrRolloutID, id, MaxID)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// resolve fills in what the signed fleet says beyond its source: waves, the newest refs, and when it was signed. All
// else keeps its bytes.
func (p *prepared) resolve(r Request, f *fleet.Fleet, ids []fleet.RolloutID) error {
	resolved, err := fleet.ResolveAll(f, r.at())
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	resolved.ChannelRefs = map[string]string{}
	for _, id := range ids {
		resolved.ChannelRefs[id.Channel()] = id.Ref()
	}
	for _, channel := range slices.Sorted(maps.Keys(f.Channels)) {
		id, ok := p.was.newest(channel)
		if _, isNew := resolved.ChannelRefs[channel]; ok && !isNew {
			resolved.ChannelRefs[channel] = id.Ref()
			p.kept = append(p.kept, id)
		}
	}
	waves, err := addWaves(r.Fleet, f, resolved)
	if err != nil {
		return err
	}
	channelRefs, err := resolved.EncodeMember("channelRefs")
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	meta, err := signedMeta(r)
	if err != nil {
		return err
	}
	raw, err := patchMeta(r.Fleet, meta, member{"waves", waves}, member{"channelRefs", channelRefs})
	if err != nil {
		return err
	}
	if p.raw, err = trust.CanonicalToSign(raw); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	// What is built from here on is built from what is signed.
	p.fleet, err = fleet.ParseFleet(p.raw)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	p.hash = trust.Hash(p.raw)
	return nil
}

// signedMeta is what signing changes in a document's meta.
func signedMeta(r Request) ([]member, error) {
	at, err := quoted(r.at().Format(time.RFC3339))
	if err != nil {
		return nil, err
	}
	set := []member{{"schemaVersion", []byte("1")}, {"signedAt", at}}
	if r.Signer == nil {
		return set, nil
	}
	key, err := trust.PublicKey(r.Signer)
	if err != nil {
		return nil, err
	}
	algorithm, err := quoted(key.Algorithm)
	if err != nil {
		return nil, err
	}
	return append(set, member{"signatureAlgorithm", algorithm}), nil
}
