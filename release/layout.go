package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nixfleet/fleet"
	"nixfleet/strictjson"
	"nixfleet/trust"
)

// The names of the published layout. docs/design/05-trust.md.
const (
	FleetFile       = "fleet.resolved.json"
	RevocationsFile = "revocations.json"
	SigSuffix       = ".sig"
	rolloutsDir     = "rollouts"
	ticketsDir      = "tickets"
	lockFile        = ".lock"
	tempPrefix      = ".tmp-"
)

// MaxID is the longest rollout id that can be published, in bytes: its longest file name must fit the 255 that a
// directory entry has.
const MaxID = 255 - len(".json") - len(SigSuffix) - 1 - pendingDigits

// pendingDigits is how much of a document's hash names a signature that waits for its document.
const pendingDigits = 16

// ManifestPath returns where a rollout's manifest is, relative to the directory.
func ManifestPath(id fleet.RolloutID) string { return rolloutsDir + "/" + id.String() + ".json" }

// TicketsPath returns where a rollout's tickets are, relative to the directory.
func TicketsPath(id fleet.RolloutID) string { return ticketsDir + "/" + id.String() + ".jsonl" }

// pendingSig names the signature of a document that is about to be put in place.
func pendingSig(path string, raw []byte) string {
	sum := sha256.Sum256(raw)
	return path + SigSuffix + "." + hex.EncodeToString(sum[:])[:pendingDigits]
}

// Document is a published document and its raw signature, not verified.
type Document struct{ Raw, Sig []byte }

// Dir reads a published directory. It holds no state and may be used from several goroutines.
type Dir struct{ root string }

// Open returns a reader of the directory at path, which must exist.
func Open(path string) (*Dir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("release: %s is not a directory", path)
	}
	return &Dir{root: path}, nil
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.root }

// Stamp returns a text that is another one when a release was put in force since, for pollers: it costs one look at
// the file system where reading costs the whole fleet. A stamp says nothing about what the change was.
func (d *Dir) Stamp() (string, error) {
	var stamp strings.Builder
	for _, name := range []string{FleetFile, FleetFile + SigSuffix, RevocationsFile, RevocationsFile + SigSuffix} {
		info, err := os.Stat(filepath.Join(d.root, name))
		if errors.Is(err, fs.ErrNotExist) {
			stamp.WriteString("-;")
			continue
		}
		if err != nil {
			return "", fmt.Errorf("release: %w", err)
		}
		fmt.Fprintf(&stamp, "%d/%d;", info.Size(), info.ModTime().UnixNano())
	}
	return stamp.String(), nil
}

// Fleet reads the fleet. Errors are of class [ErrNotFound] if there is none.
func (d *Dir) Fleet() (Document, error) { return d.document(FleetFile) }

// Revocations reads the revocations. Errors are of class [ErrNotFound] if there are none.
func (d *Dir) Revocations() (Document, error) { return d.document(RevocationsFile) }

// Manifest reads the manifest of a rollout. Errors are of class [ErrNotFound] if there is none. That it is of that
// rollout, trust.CheckRollout tells when it has been verified.
func (d *Dir) Manifest(id fleet.RolloutID) (Document, error) { return d.document(ManifestPath(id)) }

// Rollouts lists the rollouts that have a manifest, in order of id. A file whose name is no id is none of ours.
func (d *Dir) Rollouts() ([]fleet.RolloutID, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, rolloutsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	var ids []fleet.RolloutID
	for _, e := range entries {
		name, isDocument := strings.CutSuffix(e.Name(), ".json")
		if !isDocument || strings.HasPrefix(name, ".") {
			continue
		}
		if id, err := fleet.ParseRolloutID(name); err == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b fleet.RolloutID) int { return strings.Compare(a.String(), b.String()) })
	return ids, nil
}

// document reads a document and its signature, which a writer may be replacing meanwhile.
func (d *Dir) document(path string) (Document, error) {
	const attempts = 3 // each needs a whole release to be written between two reads to fail
	for range attempts {
		raw, err := d.read(path, strictjson.DocumentLimits.Bytes)
		if err != nil {
			return Document{}, err
		}
		sig, err := d.read(pendingSig(path, raw), trust.SignatureSize)
		if errors.Is(err, ErrNotFound) {
			sig, err = d.read(path+SigSuffix, trust.SignatureSize)
		}
		if err != nil {
			return Document{}, err
		}
		again, err := d.read(path, strictjson.DocumentLimits.Bytes)
		if err != nil {
			return Document{}, err
		}
		if slices.Equal(raw, again) {
			return Document{Raw: raw, Sig: sig}, nil
		}
	}
	return Document{}, fmt.Errorf("release: %s changes faster than it can be read", path)
}

// read reads a file of at most most bytes.
func (d *Dir) read(path string, most int) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.root, filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("release: %s: %w", path, err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("release: %s is longer than %d bytes", path, most)
	}
	return data, nil
}
