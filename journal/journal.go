package journal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
)

const (
	// defaultSegmentBytes bounds what is held in memory for the case of a failed
	// fsync, and what one rewrite touches.
	defaultSegmentBytes = 1 << 20
	// defaultReserveBytes is room for one segment written anew and for hundreds
	// of commits behind it.
	defaultReserveBytes = 4 << 20
)

// Options say where the journal is and how it is written.
type Options struct {
	Dir          string
	FS           FS     // nil: OS()
	SegmentBytes int64  // a segment this long asks for rotation; 0: 1 MiB
	ReserveBytes int64  // space kept back for a full disk; 0: 4 MiB, negative: none
	Schema       uint32 // of the payloads this binary writes; it reads all up to it
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("%w: no directory", ErrOptions)
	}
	if o.SegmentBytes < 0 {
		return o, fmt.Errorf("%w: segment size %d", ErrOptions, o.SegmentBytes)
	}
	if o.FS == nil {
		o.FS = OS()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = defaultReserveBytes
	}
	return o, nil
}

// trust says what may be done with the file of the active segment.
type trust uint8

const (
	// fresh: there is no file yet; the first commit makes it.
	fresh trust = iota
	// trusted: the file ends behind the last commit and all of it is durable.
	trusted
	// distrusted: it may lack or hold more than what was committed (a failed
	// fsync, a failed cut, damage). It is written anew before anything else.
	distrusted
)

// active is the segment that commits go to.
type active struct {
	id       uint64
	schema   uint32
	mem      []byte // header and committed frames; never changed below its length
	state    trust
	file     File   // open only when trusted
	evidence string // a second name the file must get before it is replaced
}

func (a *active) segment() segment {
	return segment{id: a.id, schema: a.schema, bytes: int64(len(a.mem))}
}

// Journal is an open log. See the package comment for its concurrency.
type Journal struct {
	opt  Options
	lock io.Closer

	mu      sync.Mutex
	closed  bool
	old     []segment // ascending, all below act.id
	act     active
	top     uint64 // highest segment number ever seen here: none is used twice
	reserve reserve
}

func (j *Journal) path(name string) string { return filepath.Join(j.opt.Dir, name) }

// SegmentInfo is one kept segment.
type SegmentInfo struct {
	ID     uint64
	Bytes  int64 // header and intact frames; 0 if a Remove of it failed after the file was gone
	Active bool
}

// Segments gives the kept segments, oldest first; the active one is last.
func (j *Journal) Segments() []SegmentInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	infos := make([]SegmentInfo, 0, len(j.old)+1)
	for _, s := range j.old {
		infos = append(infos, SegmentInfo{s.id, s.bytes, false})
	}
	return append(infos, SegmentInfo{j.act.id, int64(len(j.act.mem)), true})
}

// Size is the length of all kept segments in bytes, the reserve not counted.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := int64(len(j.act.mem))
	for _, s := range j.old {
		n += s.bytes
	}
	return n
}

// NeedsRotation tells whether the active segment has reached Options.SegmentBytes.
func (j *Journal) NeedsRotation() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int64(len(j.act.mem)) >= j.opt.SegmentBytes
}

// Degraded tells whether something failed that the journal has not made good
// yet: the file of the active segment is distrusted, or the reserve is spent.
func (j *Journal) Degraded() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.act.state == distrusted || j.reserve.spent()
}

// ReserveSpent tells whether the space kept back for a full disk is given up
// (or could not be had), so that the next full disk will stop commits.
func (j *Journal) ReserveSpent() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reserve.spent()
}

// Close gives up the lock. Every commit is durable already. A second Close does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	return errors.Join(j.closeActive(), j.lock.Close())
}

// closeActive closes the file of the active segment if it is open.
func (j *Journal) closeActive() error {
	f := j.act.file
	j.act.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// older finds an older segment.
func (j *Journal) older(id uint64) (int, error) {
	if id == j.act.id {
		return 0, fmt.Errorf("%w: %d", ErrActive, id)
	}
	i := slices.IndexFunc(j.old, func(s segment) bool { return s.id == id })
	if i < 0 {
		return 0, fmt.Errorf("%w: %d", ErrNoSegment, id)
	}
	return i, nil
}
