package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Rotate starts a new active segment whose first frame is snapshot, at most
// MaxPayload bytes (docs/design/04-agent.md, 4.2). It must stand for every
// commit so far. Rotate tries to get a spent reserve back.
//
// After an error every commit is still there and commits may go on; the new
// segment may or may not have been started, with this snapshot in it.
func (j *Journal) Rotate(snapshot []byte) error {
	if len(snapshot) > MaxPayload {
		return fmt.Errorf("%w: snapshot of %d bytes, at most %d", ErrTooLarge, len(snapshot), MaxPayload)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if err := j.withReserve(func() error { return j.rotate(snapshot) }); err != nil {
		return fmt.Errorf("journal: rotate: %w", err)
	}
	j.takeReserve()
	return nil
}

func (j *Journal) rotate(snapshot []byte) error {
	// A segment that was never written has nothing worth keeping: replace it.
	replace := j.act.state == fresh
	next := newActive(j.act.id, j.opt.Schema)
	if !replace {
		if err := j.renew(j.act.schema); err != nil {
			return err
		}
		next = newActive(j.top+1, j.opt.Schema)
	}
	next.mem = appendFrame(next.mem, next.id, Snapshot, snapshot)
	f, tried, err := j.place(segmentName(next.id), next.mem)
	if err != nil && !tried {
		return err
	}
	// Once the new segment may be on disk, a commit to the old one could come
	// before the snapshot that does not know it. So go on with the new one, and
	// write it once more if it is not known to be durable.
	next.file, next.state = f, trusted
	if err != nil {
		next.state = distrusted
	}
	cerr := j.closeActive()
	if !replace {
		j.old = append(j.old, j.act.segment())
	}
	j.act, j.top = next, next.id
	return errors.Join(err, cerr)
}

// Remove drops one whole older segment. The active one gives ErrActive, one
// that is not kept ErrNoSegment. After another error it can be called again;
// until it succeeds, a crash may bring the segment back, whole.
func (j *Journal) Remove(id uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	i, err := j.older(id)
	if err != nil {
		return err
	}
	err = j.opt.FS.Remove(j.path(segmentName(id)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: remove segment %d: %w", id, err)
	}
	j.old[i].bytes, j.old[i].gone = 0, true
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return fmt.Errorf("journal: remove segment %d: %w", id, err)
	}
	j.old = slices.Delete(j.old, i, i+1)
	return nil
}

// Rewrite replaces an older segment, atomically, by one whose commits went
// through fn: kept as they are given back, or dropped. Snapshots in it stay. An
// error of fn is returned as it is and changes nothing; fn must not call the
// journal. Places inside the segment change: who holds one goes on from
// Pos{id, 0}. After another error the segment is either the old or the new one.
func (j *Journal) Rewrite(id uint64, fn func(payload []byte) (replacement []byte, keep bool, err error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	i, err := j.older(id)
	if err != nil {
		return err
	}
	if j.old[i].gone {
		return fmt.Errorf("%w: %d is removed", ErrNoSegment, id)
	}
	mem, err := j.rewritten(j.old[i], fn)
	if err != nil {
		return err
	}
	tried := false
	err = j.withReserve(func() error {
		f, t, err := j.place(segmentName(id), mem)
		tried = tried || t
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err == nil || tried {
		if lerr := j.relearn(i); lerr != nil {
			err = errors.Join(err, lerr)
		}
	}
	if err != nil {
		return fmt.Errorf("journal: rewrite segment %d: %w", id, err)
	}
	return nil
}

// rewritten gives the bytes of segment s with its commits passed through fn.
func (j *Journal) rewritten(s segment, fn func([]byte) ([]byte, bool, error)) ([]byte, error) {
	f, err := j.opt.FS.Open(j.path(segmentName(s.id)))
	if err != nil {
		return nil, fmt.Errorf("journal: rewrite segment %d: %w", s.id, err)
	}
	mem := appendHeader(make([]byte, 0, s.bytes), s.id, max(s.schema, j.opt.Schema))
	var r frameReader
	v, err := r.examine(f, s.bytes, s.id, false, j.opt.Schema, func(fr Frame) error {
		payload := fr.Payload
		if fr.Kind == Commit {
			replacement, keep, err := fn(payload)
			if err != nil || !keep {
				return err
			}
			if payload = replacement; len(payload) > MaxPayload {
				return fmt.Errorf("%w: replacement of %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
			}
		}
		mem = appendFrame(mem, s.id, fr.Kind, payload)
		return nil
	})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && v.damage != nil {
		err = *v.damage
	}
	return mem, err
}

// relearn reads an older segment again to know which of two contents it has.
func (j *Journal) relearn(i int) error {
	id := j.old[i].id
	f, err := j.opt.FS.Open(j.path(segmentName(id)))
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	var r frameReader
	v, err := r.examine(f, size, id, false, j.opt.Schema, nil)
	if err == nil && !v.headless {
		j.old[i] = v.segment
	}
	return errors.Join(err, f.Close())
}
