package journal

import (
	"errors"
	"fmt"
	"io"
)

// Append commits one payload of at most MaxPayload bytes with one write and
// one fsync (docs/design/04-agent.md, 4.2) and gives the place of its frame.
//
// On an error nothing is committed and the same payload can be given again:
// a frame that was written in part is cut, and after a failed fsync the next
// call first writes the segment anew, from memory and without that frame. On a
// full disk the reserve is given up and the commit tried once more.
func (j *Journal) Append(payload []byte) (Pos, error) {
	if len(payload) > MaxPayload {
		return Pos{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return Pos{}, ErrClosed
	}
	var pos Pos
	err := j.withReserve(func() (err error) {
		pos, err = j.appendFrame(payload)
		return err
	})
	if err != nil {
		return Pos{}, fmt.Errorf("journal: append: %w", err)
	}
	j.committed()
	return pos, nil
}

func (j *Journal) appendFrame(payload []byte) (Pos, error) {
	if err := j.renew(j.opt.Schema); err != nil {
		return Pos{}, err
	}
	off := int64(len(j.act.mem))
	// Scans read below the length only, so the spare room behind it is free to use.
	mem := appendFrame(j.act.mem, j.act.id, Commit, payload)
	if err := writeAll(j.act.file, mem[off:], off); err != nil {
		return Pos{}, errors.Join(err, j.cut(off))
	}
	if err := j.act.file.Sync(); err != nil {
		return Pos{}, errors.Join(err, j.distrust())
	}
	j.act.mem = mem
	return Pos{j.act.id, off}, nil
}

func writeAll(f File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// cut takes back a write that failed. It is made durable at once, lest the
// whole frame come back after a crash when it was already committed elsewhere.
func (j *Journal) cut(off int64) error {
	err := j.act.file.Truncate(off)
	if err == nil {
		err = j.act.file.Sync()
	}
	if err != nil {
		return errors.Join(err, j.distrust())
	}
	return nil
}

// distrust gives up the file of the active segment. After a failed fsync the
// kernel may show pages as clean that never reached the disk, so neither a
// second fsync nor what is read back proves anything. Should this process die
// before it wrote the segment anew, the next Open does.
func (j *Journal) distrust() error {
	j.act.state = distrusted
	return j.closeActive()
}

// renew makes the active segment's file one that can be appended to. It writes
// it anew from memory if there is none, if it is distrusted, or if its header
// promises a schema older than schema, which is what is about to be written.
func (j *Journal) renew(schema uint32) error {
	a := &j.act
	if a.state == trusted && a.schema >= schema {
		return nil
	}
	if a.schema < schema {
		mem := appendHeader(make([]byte, 0, len(a.mem)), a.id, schema)
		a.mem, a.schema = append(mem, a.mem[headerBytes:]...), schema
	}
	if a.state == trusted {
		a.state = distrusted
		if err := j.closeActive(); err != nil {
			return err
		}
	}
	if a.evidence != "" {
		if err := j.keepAs(segmentName(a.id), a.evidence); err != nil {
			return err
		}
		a.evidence = ""
	}
	f, _, err := j.place(segmentName(a.id), a.mem)
	if err != nil {
		return err
	}
	a.file, a.state = f, trusted
	return nil
}

// place makes content appear under name whole or not at all, and gives the
// open file. If it fails, tried says whether the rename was reached: then the
// name may stand for either content until the next place.
func (j *Journal) place(name string, content []byte) (f File, tried bool, err error) {
	tmp := j.path(name + tmpSuffix)
	f, err = j.opt.FS.Create(tmp)
	if err != nil {
		return nil, false, err
	}
	err = writeAll(f, content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, false, errors.Join(err, f.Close(), j.opt.FS.Remove(tmp))
	}
	if err := j.opt.FS.Rename(tmp, j.path(name)); err != nil {
		return nil, true, errors.Join(err, f.Close())
	}
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return nil, true, errors.Join(err, f.Close())
	}
	return f, true, nil
}

// newActive starts an active segment in memory; it has no file yet.
func newActive(id uint64, schema uint32) active {
	return active{id: id, schema: schema, mem: appendHeader(nil, id, schema), state: fresh}
}
