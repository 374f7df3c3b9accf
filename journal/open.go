package journal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Opened is what Open found.
type Opened struct {
	Snapshot    []byte   // payload of the last intact snapshot; nil if there is none
	SnapshotPos Pos      // its place: what is behind it is not in it
	Damage      []Damage // what is not as it was written, oldest first
	Torn        int64    // bytes cut from the end of the last segment: a frame a crash cut short
	Empty       bool     // no frame is kept, be it that there never was one or that none is intact
	NewerSchema bool     // a newer release wrote the log: it was set aside and this one starts empty
	SetAside    []string // every name in the directory that holds something set aside, now or earlier
}

// Open takes the lock and opens the journal in Options.Dir, making the
// directory if there is none (docs/design/04-agent.md, 4.2). It checks every
// frame of every kept segment; see the package comment for what it does with a
// torn frame, with damage and with segments of a newer release: none of those
// is an error. What it returned is durable, even if the process that wrote it
// died before its fsync.
//
// A directory open to others (mode & 077) is tightened to 0700 if it holds
// nothing but a journal or nothing at all, else refused with ErrWideDirectory:
// a mistyped directory must not lose its mode. A second owner gets ErrLocked
// (a *LockedError with the process id if it is known).
func Open(opt Options) (*Journal, Opened, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, Opened{}, err
	}
	if err := prepareDir(opt); err != nil {
		return nil, Opened{}, err
	}
	lock, err := opt.FS.Lock(filepath.Join(opt.Dir, lockName))
	if err != nil {
		return nil, Opened{}, fmt.Errorf("journal: open: %w", err)
	}
	j := &Journal{opt: opt, lock: lock, reserve: reserve{want: opt.ReserveBytes}}
	r := recovery{j: j}
	if err := r.run(); err != nil {
		return nil, Opened{}, errors.Join(fmt.Errorf("journal: open: %w", err), j.closeActive(), lock.Close())
	}
	return j, r.opened, nil
}

// listing is a directory sorted by what the names mean.
type listing struct {
	segments  []uint64 // ascending
	top       uint64
	leftovers []string // .tmp: never complete for certain, never committed
	setAside  []string
	foreign   []string
	reserve   int64 // its size; -1 if there is none
}

func list(fsys FS, dir string) (listing, error) {
	entries, err := fsys.List(dir)
	if err != nil {
		return listing{}, err
	}
	l := listing{reserve: -1}
	for _, e := range entries {
		id, isSegment := segmentID(strings.TrimSuffix(e.Name, tmpSuffix))
		if isSegment {
			l.top = max(l.top, id)
		}
		switch {
		case strings.HasPrefix(e.Name, damagedPrefix), strings.HasPrefix(e.Name, newerPrefix):
			l.setAside = append(l.setAside, e.Name)
		case e.Dir:
			l.foreign = append(l.foreign, e.Name)
		case isSegment && strings.HasSuffix(e.Name, tmpSuffix):
			l.leftovers = append(l.leftovers, e.Name)
		case isSegment:
			l.segments = append(l.segments, id)
		case e.Name == reserveName:
			l.reserve = e.Size
		case e.Name != lockName:
			l.foreign = append(l.foreign, e.Name)
		}
	}
	slices.Sort(l.segments)
	slices.Sort(l.setAside)
	return l, nil
}

func prepareDir(opt Options) error {
	if err := opt.FS.MakeDir(opt.Dir); err != nil {
		return fmt.Errorf("journal: open: %w", err)
	}
	mode, err := opt.FS.DirMode(opt.Dir)
	if err != nil {
		return fmt.Errorf("journal: open: %w", err)
	}
	if mode&0o077 == 0 {
		return nil
	}
	l, err := list(opt.FS, opt.Dir)
	if err != nil {
		return fmt.Errorf("journal: open: %w", err)
	}
	if len(l.foreign) > 0 {
		return fmt.Errorf("%w: %s has mode %04o and holds %s; make it 0700 or name another",
			ErrWideDirectory, opt.Dir, mode, l.foreign[0])
	}
	if err := opt.FS.Tighten(opt.Dir); err != nil {
		return fmt.Errorf("journal: open: %w", err)
	}
	return nil
}

// recovery is one Open at work.
type recovery struct {
	j      *Journal
	opened Opened
	list   listing
	found  []verdict
	reader frameReader
}

func (r *recovery) run() error {
	j := r.j
	var err error
	if r.list, err = list(j.opt.FS, j.opt.Dir); err != nil {
		return err
	}
	j.top = r.list.top
	j.reserve.held = j.reserve.want > 0 && r.list.reserve == j.reserve.want
	for _, name := range r.list.leftovers {
		if err := j.opt.FS.Remove(j.path(name)); err != nil {
			return err
		}
	}
	if err := r.examineAll(); err != nil {
		return err
	}
	if slices.ContainsFunc(r.found, func(v verdict) bool { return v.newer }) {
		if err := j.withReserve(r.setAsideNewer); err != nil {
			return err
		}
		r.found = nil
	}
	r.setAsideDamaged()
	if err := r.activate(); err != nil {
		return err
	}
	if err := r.loadSnapshot(); err != nil {
		return err
	}
	j.takeReserve()
	return r.listSetAside()
}

// examineAll reads every segment there is.
func (r *recovery) examineAll() error {
	for i, id := range r.list.segments {
		f, err := r.j.opt.FS.Open(r.j.path(segmentName(id)))
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		v, err := r.reader.examine(f, size, id, i == len(r.list.segments)-1, r.j.opt.Schema, nil)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		r.found = append(r.found, v)
	}
	return nil
}

// activate decides which segments are kept and makes the last one active.
func (r *recovery) activate() error {
	j := r.j
	r.opened.Empty = true
	for _, v := range r.found {
		if v.headless {
			continue
		}
		j.old = append(j.old, v.segment)
		r.opened.Torn += v.torn
		r.opened.Empty = r.opened.Empty && v.frames == 0
	}
	if len(j.old) == 0 {
		j.top++
		j.act = newActive(j.top, j.opt.Schema)
		// The directory itself may be new, and nothing in it counts until its own name is durable.
		return j.opt.FS.SyncDir(filepath.Dir(j.opt.Dir))
	}
	last := j.old[len(j.old)-1]
	j.old = j.old[:len(j.old)-1]
	j.act = active{id: last.id, schema: last.schema, state: distrusted}
	f, err := j.opt.FS.Open(j.path(segmentName(last.id)))
	if err != nil {
		return err
	}
	j.act.mem = make([]byte, last.bytes)
	_, err = f.ReadAt(j.act.mem, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	r.makeDurable()
	return nil
}

// makeDurable sees to it that what is returned is on disk: the process that
// wrote the last frames may have died before its fsync, or after one that
// failed. So the segment is written anew, with the schema it has: only a commit
// raises that, and the previous release can still read a log that was merely
// opened. What fails here leaves the segment distrusted, and the next commit tries again.
func (r *recovery) makeDurable() {
	j := r.j
	v := r.found[slices.IndexFunc(r.found, func(v verdict) bool { return v.id == j.act.id })]
	if v.damage != nil && v.damage.SetAside == "" {
		j.act.evidence = r.evidenceName(v)
	}
	err := j.withReserve(func() error { return j.renew(j.act.schema) })
	if err != nil && diskFull(err) && v.damage == nil {
		// No room for a second copy must not stop commits that still fit.
		err = r.trustFile()
	}
	if err != nil {
		r.opened.Damage = append(r.opened.Damage, Damage{
			File: segmentName(j.act.id), Offset: int64(len(j.act.mem)), Reason: "is not known to be durable: " + err.Error(),
		})
	}
}

// trustFile takes the file as it is, without its torn frame, and makes it and
// its directory durable.
func (r *recovery) trustFile() error {
	j := r.j
	f, err := j.opt.FS.OpenWrite(j.path(segmentName(j.act.id)))
	if err != nil {
		return err
	}
	if r.opened.Torn > 0 {
		err = f.Truncate(int64(len(j.act.mem)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.opt.FS.SyncDir(j.opt.Dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.act.file, j.act.state = f, trusted
	return nil
}

// errStop ends a scan early.
var errStop = errors.New("stop")

// loadSnapshot brings the last intact snapshot into memory.
func (r *recovery) loadSnapshot() error {
	for _, v := range r.found {
		if v.snapshot != (Pos{}) {
			r.opened.SnapshotPos = v.snapshot
		}
	}
	if r.opened.SnapshotPos == (Pos{}) {
		return nil
	}
	err := r.j.Scan(r.opened.SnapshotPos, func(f Frame) error {
		r.opened.Snapshot = slices.Clone(f.Payload)
		return errStop
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return fmt.Errorf("snapshot at %v: %w", r.opened.SnapshotPos, errors.Join(ErrDamaged, err))
}
