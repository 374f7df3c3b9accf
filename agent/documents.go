package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"nixfleet/agent/client"
	"nixfleet/clock"
	"nixfleet/fleet"
	"nixfleet/trust"
	"nixfleet/wire"
)

// An original control plane has no tickets: its agents read the whole fleet and whole manifests. Nothing of them is
// held in memory between two looks, since a fleet may be of 32 MiB; the last good ones are kept on the disk.

// documentsDir is the folder of the last good whole documents within the state directory.
const documentsDir = "documents"

// documentTimeout bounds one whole document: 32 MiB over a slow line.
const documentTimeout = 5 * time.Minute

// etags remembers what the control plane called the documents that are on the disk, by file: which path was last
// written there, and its tag.
type etags struct {
	mu sync.Mutex
	of map[string][2]string
}

// get returns the tag of what is in file, "" if that is not the document at path.
func (e *etags) get(file, path string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of[file][0] != path {
		return ""
	}
	return e.of[file][1]
}

func (e *etags) set(file, path, tag string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of == nil {
		e.of = map[string][2]string{}
	}
	e.of[file] = [2]string{path, tag}
}

// original says whether the control plane has answered and is one without tickets.
func (a *Agent) original() bool {
	f, known := a.client.Announced()
	return known && f == wire.Features{}
}

// runManifestPoll keeps the fleet and this host's newest manifest at hand, where there are no tickets: a dispatch then
// finds them even if the network fails in that moment. docs/design/04-agent.md, 4.3.
func (a *Agent) runManifestPoll(ctx context.Context) error {
	for {
		if err := clock.Sleep(ctx, a.deps.Clock, jittered(a.cfg.Intervals.ManifestPoll)); err != nil {
			return err
		}
		if !a.original() {
			continue
		}
		if err := a.lookAtDocuments(ctx); err != nil && ctx.Err() == nil {
			a.metrics.add("documents_refused", 1)
			a.log.Warn("whole documents", "error", err)
		}
	}
}

func (a *Agent) lookAtDocuments(ctx context.Context) error {
	keys, err := trust.LoadFile(a.cfg.TrustFile)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	f, err := a.wholeFleet(ctx, keys)
	if err != nil {
		return err
	}
	id, ok := f.Value().Newest(f.Value().Hosts[a.cfg.MachineID].Channel)
	if !ok {
		return nil // no rollout of this host's channel yet
	}
	m, err := a.wholeManifest(ctx, keys, id)
	if err != nil {
		return err
	}
	if m.Value().FleetResolvedHash != f.Hash() {
		return fmt.Errorf("agent: manifest of %s: %w", id, trust.ErrOtherFleet)
	}
	return nil
}

// deriveTicket is fetchTicket where there are no tickets: the manifest and the fleet it was made from say the same.
func (a *Agent) deriveTicket(ctx context.Context, id fleet.RolloutID, keys *trust.File) (trust.Verified[*fleet.Ticket], error) {
	var none trust.Verified[*fleet.Ticket]
	m, err := a.wholeManifest(ctx, keys, id)
	if err != nil {
		return none, err
	}
	f, err := a.wholeFleet(ctx, keys)
	if err != nil {
		return none, err
	}
	// The fleet is verified without regard to age; what may be acted on is as fresh as the channel says.
	window := f.Value().Channels[id.Channel()].Window()
	if a.cfg.MaxSignatureAge > 0 {
		window = min(window, a.cfg.MaxSignatureAge)
	}
	if err := trust.Fresh(m, window, a.deps.Clock.Now().Wall); err != nil {
		return none, fmt.Errorf("agent: manifest of %s: %w", id, err)
	}
	t, err := trust.DeriveTicket(m, f, a.cfg.MachineID)
	if err != nil {
		return none, fmt.Errorf("agent: %s: %w", id, err)
	}
	return t, nil
}

func (a *Agent) wholeFleet(ctx context.Context, keys *trust.File) (trust.Verified[*fleet.Fleet], error) {
	return wholeDocument(ctx, a, wire.PathFleet, "fleet.resolved", func(raw, sig []byte) (trust.Verified[*fleet.Fleet], error) {
		return trust.VerifyFleet(raw, sig, keys, a.deps.Clock.Now().Wall, trust.AnyAge)
	})
}

// manifestFile holds one manifest: the one asked for last.
const manifestFile = "manifest"

func (a *Agent) wholeManifest(ctx context.Context, keys *trust.File, id fleet.RolloutID) (trust.Verified[*fleet.Manifest], error) {
	path := wire.PathRollouts + url.PathEscape(id.String())
	return wholeDocument(ctx, a, path, manifestFile, func(raw, sig []byte) (trust.Verified[*fleet.Manifest], error) {
		v, err := trust.VerifyManifest(raw, sig, keys, a.deps.Clock.Now().Wall, trust.AnyAge)
		if err == nil {
			err = trust.CheckRollout(v, id)
		}
		return v, err
	})
}

// wholeDocument gives a document from the network, or the last good one where it has not changed or cannot be had. What
// does not verify never takes the place of a good one.
func wholeDocument[T any](ctx context.Context, a *Agent, path, file string, verify func(raw, sig []byte) (trust.Verified[T], error)) (trust.Verified[T], error) {
	file = filepath.Join(a.cfg.StateDir, documentsDir, file)
	raw, sig, tag, err := a.download(ctx, path, a.etags.get(file, path))
	if err == nil {
		v, err := verify(raw, sig)
		if err != nil {
			return v, fmt.Errorf("agent: %s: %w", path, err)
		}
		if err := keep(file, raw, sig); err != nil {
			return v, err
		}
		a.etags.set(file, path, tag)
		return v, nil
	}
	raw, sig, kept := lastGood(file)
	if kept != nil {
		return trust.Verified[T]{}, errors.Join(err, kept)
	}
	v, bad := verify(raw, sig)
	if bad != nil {
		a.etags.set(file, path, "") // asked for in full the next time
		return v, errors.Join(err, fmt.Errorf("agent: %s: %w", file, bad))
	}
	return v, nil
}

// errUnchanged is the answer that what is on the disk is what there is.
var errUnchanged = errors.New("agent: the document has not changed")

func (a *Agent) download(ctx context.Context, path, have string) (raw, sig []byte, tag string, err error) {
	doc, err := a.client.Do(ctx, client.Request{
		Method: http.MethodGet, Path: path, Timeout: documentTimeout, Limit: wire.MaxDocument, IfNoneMatch: have,
	})
	switch {
	case err != nil:
		return nil, nil, "", err
	case doc.Status == http.StatusNotModified:
		return nil, nil, "", errUnchanged
	case doc.Status != http.StatusOK:
		return nil, nil, "", problem(path, doc)
	}
	signature, err := a.call(ctx, client.Request{Method: http.MethodGet, Path: path + wire.PathSig, Timeout: callTimeout})
	if err != nil {
		return nil, nil, "", err
	}
	return doc.Body, signature.Body, doc.Header.Get("ETag"), nil
}

// keep writes a document behind its signature, in one file, so that the two can never belong to different ones.
func keep(file string, raw, sig []byte) error {
	if len(sig) != trust.SignatureSize {
		return fmt.Errorf("agent: a signature of %d bytes, want %d", len(sig), trust.SignatureSize)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if err := renameio.WriteFile(file, append(append(make([]byte, 0, len(sig)+len(raw)), sig...), raw...), 0o600); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

func lastGood(file string) (raw, sig []byte, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("agent: no last good document: %w", err)
	}
	if len(data) < trust.SignatureSize {
		return nil, nil, fmt.Errorf("agent: %s is cut short", file)
	}
	return data[trust.SignatureSize:], data[:trust.SignatureSize], nil
}
