package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// Scan calls fn for every frame from the place from on, in order, snapshots
// included; the zero Pos is the oldest frame. A place that is none of a frame
// stands for the next one. It reads segment by segment with one buffer, so its
// memory does not grow with the log. An error of fn ends the scan and is
// returned as it is; fn may call the journal. Bytes that went bad since Open
// give a Damage (ErrDamaged).
func (j *Journal) Scan(from Pos, fn func(f Frame) error) error {
	var r frameReader
	for {
		src, s, err := j.source(from.Segment)
		if err != nil || src == nil {
			return err
		}
		err = r.segment(src, s, from, fn)
		if cerr := src.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("journal: scan: %w", cerr)
		}
		if err != nil {
			return err
		}
		from = Pos{Segment: s.id + 1}
	}
}

type source interface {
	io.ReaderAt
	io.Closer
}

// memory is the active segment as it was when a scan reached it. Reading it
// there and not from the file means that no page of a distrusted file is served.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// source opens the oldest kept segment from id on; nil if there is none.
func (j *Journal) source(id uint64) (source, segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, segment{}, ErrClosed
	}
	for _, s := range j.old {
		if s.id < id || s.gone {
			continue
		}
		f, err := j.opt.FS.Open(j.path(segmentName(s.id)))
		if err != nil {
			return nil, segment{}, fmt.Errorf("journal: scan: %w", err)
		}
		return f, s, nil
	}
	if j.act.id < id {
		return nil, segment{}, nil
	}
	return memory{bytes.NewReader(j.act.mem)}, j.act.segment(), nil
}

// segment reads the frames of s from the place from on.
func (r *frameReader) segment(src io.ReaderAt, s segment, from Pos, fn func(Frame) error) error {
	at := Pos{s.id, headerBytes}
	if from.Segment == s.id && from.Offset > headerBytes && startsFrame(src, from, s.bytes) {
		at = from
	}
	r.start(src, at, s.bytes)
	for {
		f, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("journal: scan: %w", Damage{File: segmentName(s.id), Offset: r.at.Offset, Reason: err.Error()})
		}
		if f.Pos.Less(from) {
			continue
		}
		f.Schema = s.schema
		if err := fn(f); err != nil {
			return err
		}
	}
}

// startsFrame tells whether a frame starts at the place at, so that a scan
// need not read what is before it. The head checksum covers the place.
func startsFrame(src io.ReaderAt, at Pos, end int64) bool {
	if at.Offset == end {
		return true
	}
	if at.Offset > end-frameHead {
		return false
	}
	var head [frameHead]byte
	if _, err := src.ReadAt(head[:], at.Offset); err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	_, _, err := parseHead(head[:], at)
	return err == nil
}

// ReadDir reads the journal in dir, which may be a copy or in use, and calls fn
// for every intact frame in order. It takes no lock and changes nothing: it is
// what `nixfleet replay` reads with. It serves every payload schema (see
// Frame.Schema); segments of a newer format version are named in the damage. A
// torn last frame is no damage. An error is fn's, or says that dir cannot be listed.
func ReadDir(dir string, fsys FS, fn func(f Frame) error) ([]Damage, error) {
	if fsys == nil {
		fsys = OS()
	}
	entries, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: read %s: %w", dir, err)
	}
	var ids []uint64
	for _, e := range entries {
		if id, ok := segmentID(e.Name); ok && !e.Dir {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var damage []Damage
	var r frameReader
	for i, id := range ids {
		f, err := fsys.Open(filepath.Join(dir, segmentName(id)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by the agent since it was listed
		}
		if err != nil {
			return damage, fmt.Errorf("journal: read: %w", err)
		}
		v, err := r.readFile(f, id, i == len(ids)-1, fn)
		if err != nil {
			return damage, err
		}
		if v.damage != nil {
			damage = append(damage, *v.damage)
		}
	}
	return damage, nil
}

// anySchema is above every payload schema.
const anySchema = 1<<32 - 1

func (r *frameReader) readFile(f File, id uint64, last bool, fn func(Frame) error) (verdict, error) {
	size, err := f.Size()
	if err != nil {
		return verdict{}, errors.Join(fmt.Errorf("journal: read: %w", err), f.Close())
	}
	v, err := r.examine(f, size, id, last, anySchema, fn)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("journal: read: %w", cerr)
	}
	return v, err
}
