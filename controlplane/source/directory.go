package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"nixfleet/fleet"
	"nixfleet/release"
)

// ErrNotFound means that the source does not have what was asked for.
var ErrNotFound = release.ErrNotFound

// maxOpen bounds the files of tickets kept open: the live rollouts of a few channels. The index of 100,000 hosts takes
// some 6 MB.
const maxOpen = 16

// Directory reads the published layout of docs/design/05-trust.md. A file of tickets stays open with its index of
// lines, so that one host's ticket does not cost the reading of all.
type Directory struct {
	root string

	mu   sync.Mutex // also held while a ticket is read: the file must not be closed meanwhile
	open map[fleet.RolloutID]openTickets
}

// openTickets is an open file of tickets and what its name stood for when it was opened.
type openTickets struct {
	tickets *release.Tickets
	info    fs.FileInfo
}

// NewDirectory reads from root, which need not exist yet. It must be closed.
func NewDirectory(root string) *Directory {
	return &Directory{root: root, open: map[fleet.RolloutID]openTickets{}}
}

// Fleet implements [Reader].
func (d *Directory) Fleet() (release.Document, error) { return read(d, (*release.Dir).Fleet) }

// Revocations implements [Reader].
func (d *Directory) Revocations() (release.Document, error) {
	return read(d, (*release.Dir).Revocations)
}

// Rollouts implements [Reader].
func (d *Directory) Rollouts() ([]fleet.RolloutID, error) { return read(d, (*release.Dir).Rollouts) }

// Manifest implements [Reader].
func (d *Directory) Manifest(id fleet.RolloutID) (release.Document, error) {
	return read(d, func(dir *release.Dir) (release.Document, error) { return dir.Manifest(id) })
}

func read[T any](d *Directory, what func(*release.Dir) (T, error)) (T, error) {
	dir, err := release.Open(d.root)
	if err != nil {
		var none T
		return none, fmt.Errorf("source: %w", err)
	}
	return what(dir)
}

// Ticket implements [Reader].
func (d *Directory) Ticket(id fleet.RolloutID, hostname string) (release.Document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, err := d.tickets(id)
	if err != nil {
		return release.Document{}, err
	}
	return t.Ticket(hostname)
}

// tickets returns the rollout's open file, opened anew when another file has its name.
func (d *Directory) tickets(id fleet.RolloutID) (*release.Tickets, error) {
	info, err := os.Stat(filepath.Join(d.root, filepath.FromSlash(release.TicketsPath(id))))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: tickets of %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	have, ok := d.open[id]
	if ok && os.SameFile(have.info, info) && have.info.ModTime().Equal(info.ModTime()) && have.info.Size() == info.Size() {
		return have.tickets, nil
	}
	if err := d.makeRoom(id); err != nil {
		return nil, err
	}
	t, err := read(d, func(dir *release.Dir) (*release.Tickets, error) { return dir.Tickets(id) })
	if err != nil {
		return nil, err
	}
	// Should the file be replaced between the look and the opening, the next look sees another one and opens again.
	d.open[id] = openTickets{t, info}
	return t, nil
}

// makeRoom closes the file that id had before, and all if there are too many.
func (d *Directory) makeRoom(id fleet.RolloutID) error {
	var errs []error
	for other, have := range d.open {
		if other == id || len(d.open) >= maxOpen {
			errs = append(errs, have.tickets.Close())
			delete(d.open, other)
		}
	}
	return errors.Join(errs...)
}

// Close closes the files of tickets.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for id, have := range d.open {
		errs = append(errs, have.tickets.Close())
		delete(d.open, id)
	}
	return errors.Join(errs...)
}
