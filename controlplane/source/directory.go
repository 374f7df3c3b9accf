package source

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"nixfleet/fleet"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// The names of the published layout.
const (
	fleetFile       = "fleet.resolved.json"
	revocationsFile = "revocations.json"
	rolloutsDir     = "rollouts"
	ticketsDir      = "tickets"
	documentSuffix  = ".json"
	ticketsSuffix   = ".jsonl"
	signatureSuffix = ".sig"
)

// MaxRollouts bounds how many rollouts a directory may list: a release a day for ten years.
const MaxRollouts = 4096

// maxTicketLine bounds a line of tickets: a ticket, its signature and the members around them.
const maxTicketLine = fleet.MaxTicket + 1024

// ErrNotFound means that the source does not have what was asked for.
var ErrNotFound = errors.New("source: not found")

// Signed is a document with its signature, as published. Nothing about it is believed yet.
type Signed struct{ Raw, Signature []byte }

// Directory reads the published layout of docs/design/05-trust.md. Tickets are found by an index of their lines, made
// once per file, so that one host's ticket does not cost the reading of all.
type Directory struct {
	root string

	mu    sync.Mutex
	index map[string]*ticketIndex // by rollout id
}

// ticketIndex says where in a file the line of each host is.
type ticketIndex struct {
	info  fs.FileInfo
	lines map[string]span
}

type span struct{ offset, length int64 }

// NewDirectory reads from root, which need not exist yet.
func NewDirectory(root string) *Directory {
	return &Directory{root: root, index: map[string]*ticketIndex{}}
}

// Fleet reads the fleet.
func (d *Directory) Fleet() (Signed, error) { return d.read(fleetFile) }

// Revocations reads the revocations; ErrNotFound if there are none.
func (d *Directory) Revocations() (Signed, error) { return d.read(revocationsFile) }

// Manifest reads the manifest of a rollout.
func (d *Directory) Manifest(id fleet.RolloutID) (Signed, error) {
	return d.read(filepath.Join(rolloutsDir, id.String()+documentSuffix))
}

// Rollouts lists the rollouts that have a manifest, in order. Files that are named like no rollout are left out.
func (d *Directory) Rollouts() ([]fleet.RolloutID, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, rolloutsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	var ids []fleet.RolloutID
	for _, e := range entries {
		name, found := strings.CutSuffix(e.Name(), documentSuffix)
		if !found {
			continue
		}
		id, err := fleet.ParseRolloutID(name)
		if err != nil {
			continue // temporary files of a release in the making
		}
		if ids = append(ids, id); len(ids) > MaxRollouts {
			return nil, fmt.Errorf("source: more than %d rollouts in %s: remove old ones", MaxRollouts, filepath.Join(d.root, rolloutsDir))
		}
	}
	return ids, nil
}

func (d *Directory) read(name string) (Signed, error) {
	path := filepath.Join(d.root, name)
	raw, err := readFile(path, wire.MaxDocument)
	if err != nil {
		return Signed{}, err
	}
	sig, err := readFile(path+signatureSuffix, wire.MaxSignature)
	if err != nil {
		return Signed{}, err
	}
	return Signed{Raw: raw, Signature: sig}, nil
}

// readFile reads a file of at most most bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("source: read %s: %w", path, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("source: %s has more than %d bytes", path, most)
	}
	return data, nil
}

// Ticket reads the ticket of a host in a rollout, or ErrNotFound.
func (d *Directory) Ticket(id fleet.RolloutID, hostname string) (Signed, error) {
	path := filepath.Join(d.root, ticketsDir, id.String()+ticketsSuffix)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Signed{}, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return Signed{}, fmt.Errorf("source: %w", err)
	}
	s, err := d.ticketIn(f, id.String(), hostname)
	return s, errors.Join(err, f.Close())
}

func (d *Directory) ticketIn(f *os.File, id, hostname string) (Signed, error) {
	lines, err := d.linesOf(f, id)
	if err != nil {
		return Signed{}, err
	}
	at, ok := lines[hostname]
	if !ok {
		return Signed{}, fmt.Errorf("%w: a ticket of %s in %s", ErrNotFound, hostname, id)
	}
	line := make([]byte, at.length)
	if _, err := f.ReadAt(line, at.offset); err != nil {
		return Signed{}, fmt.Errorf("source: read a ticket of %s: %w", id, err)
	}
	s, _, err := parseTicketLine(line)
	return s, err
}

// linesOf returns the index of the open file, made anew when another file has its name.
func (d *Directory) linesOf(f *os.File, id string) (map[string]span, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if have := d.index[id]; have != nil && os.SameFile(have.info, info) && have.info.ModTime().Equal(info.ModTime()) && have.info.Size() == info.Size() {
		return have.lines, nil
	}
	lines, err := indexTickets(f)
	if err != nil {
		return nil, fmt.Errorf("source: tickets of %s: %w", id, err)
	}
	if len(d.index) >= maxIndexes {
		clear(d.index)
	}
	d.index[id] = &ticketIndex{info: info, lines: lines}
	return lines, nil
}

// maxIndexes bounds the indexes kept: the live rollouts of a few channels. One of 100,000 hosts takes some 10 MB.
const maxIndexes = 16

// parseTicketLine reads {"ticket": ..., "sig": base64}.
func parseTicketLine(line []byte) (s Signed, hostname string, err error) {
	v, err := strictjson.Parse(bytes.TrimSpace(line), strictjson.Limits{Bytes: maxTicketLine, Depth: strictjson.DocumentLimits.Depth})
	if err != nil {
		return Signed{}, "", fmt.Errorf("source: a line of tickets: %w", err)
	}
	o := v.Object()
	ticket := o.Object("ticket")
	hostname = ticket.String("hostname")
	sig := o.String("sig")
	if err := o.Err(); err != nil {
		return Signed{}, "", fmt.Errorf("source: a line of tickets: %w", err)
	}
	if s.Signature, err = base64.StdEncoding.DecodeString(sig); err != nil {
		return Signed{}, "", fmt.Errorf("source: the signature of a ticket: %w", err)
	}
	s.Raw = bytes.Clone(ticket.Raw())
	return s, hostname, nil
}
