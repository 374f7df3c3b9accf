package journaltest

import (
	"bytes"
	"io/fs"
	"slices"
	"syscall"
)

// file is an open file; it outlives its name.
type file struct {
	disk *Disk
	node *inode
	name string
}

func (n *inode) record(e edit) {
	n.now = e.apply(n.now)
	n.unsynced = append(n.unsynced, e)
}

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.disk.do(Op{Kind: Read, Name: f.name}, func() error {
		n, err = bytes.NewReader(f.node.now).ReadAt(p, off)
		return err
	})
	return n, err
}

// WriteAt honours a short fault and the capacity: it writes what fits, then fails.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	op := Op{Kind: Write, Name: f.name, Bytes: len(p)}
	fault := d.next(&op)
	n, err := len(p), fault.Err
	if err != nil {
		n = min(max(fault.Short, 0), len(p))
	}
	if growth := off + int64(n) - int64(len(f.node.now)); d.capacity > 0 && growth > 0 {
		if free := d.capacity - d.used(); growth > free {
			n = max(0, n-int(growth-max(free, 0)))
			err = &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
		}
	}
	d.visit(op, Before)
	d.visitInside(op, f.node, p[:n], off)
	if n > 0 {
		f.node.record(edit{off, slices.Clone(p[:n])})
	}
	d.visit(op, After)
	return n, err
}

// visitInside shows the disk with every proper part of a write in place.
func (d *Disk) visitInside(op Op, node *inode, p []byte, off int64) {
	if d.watch == nil {
		return
	}
	now, unsynced := node.now, node.unsynced
	for k := 1; k < len(p); k++ {
		e := edit{off, p[:k]}
		node.now = e.apply(slices.Clone(now))
		node.unsynced = append(slices.Clip(unsynced), e)
		op.Written = k
		d.visit(op, Inside)
	}
	node.now, node.unsynced = now, unsynced
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.now)) + f.node.reserved, nil
}

// Sync makes the file's bytes durable. A failed one drops them: what programs
// read stays, what a crash leaves will never have them.
func (f *file) Sync() error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	op := Op{Kind: Sync, Name: f.name}
	fault := d.next(&op)
	d.visit(op, Before)
	if fault.Err == nil {
		for _, e := range f.node.unsynced {
			f.node.safe = e.apply(f.node.safe)
		}
	}
	f.node.unsynced = nil
	d.visit(op, After)
	return fault.Err
}

func (f *file) Truncate(size int64) error {
	return f.disk.do(Op{Kind: Truncate, Name: f.name}, func() error {
		f.node.record(edit{off: size})
		return nil
	})
}

// Close loses nothing and makes nothing durable.
func (f *file) Close() error { return nil }
