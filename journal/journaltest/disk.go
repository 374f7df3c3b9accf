package journaltest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"nixfleet/journal"
)

// Disk is a file system in memory. Its zero value is not usable; see New.
type Disk struct {
	mu       sync.Mutex
	dirs     map[string]fs.FileMode
	names    map[string]*inode // as programs see it
	durable  map[string]*inode // as it is after a crash that keeps nothing
	unsynced []dirEdit         // from durable to names, in order
	locks    map[string]bool
	capacity int64 // bytes; 0: unbounded
	ops      int
	inject   func(Op) Fault
	watch    func(Point)
}

// inode is one file, under as many names as link to it.
type inode struct {
	now      []byte // as programs see it
	safe     []byte // as it is after a crash that keeps nothing
	unsynced []edit // from safe to now, in order, unless an fsync failed
	reserved int64  // bytes taken by Preallocate, not held as zeros
}

// edit is one unsynced change of a file: a write, or a new length if data is nil.
type edit struct {
	off  int64
	data []byte
}

// dirEdit is one unsynced change of directories, atomic.
type dirEdit []nameEdit

// nameEdit says what a name stands for from now on; nil: nothing.
type nameEdit struct {
	name string
	node *inode
}

// New gives an empty disk without bound.
func New() *Disk {
	return &Disk{
		dirs:    map[string]fs.FileMode{},
		names:   map[string]*inode{},
		durable: map[string]*inode{},
		locks:   map[string]bool{},
	}
}

// SetCapacity bounds the bytes of all files together; 0 takes the bound away.
// A write beyond it writes what fits and gives ENOSPC.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}

// Used is the bytes of all files together.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() int64 {
	var n int64
	seen := map[*inode]bool{}
	for _, node := range d.names {
		if !seen[node] {
			n += int64(len(node.now)) + node.reserved
		}
		seen[node] = true
	}
	return n
}

// ReadFile gives a copy of a file's bytes.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, err := d.find("read", name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(node.now), nil
}

// WriteFile puts a file there, durably and past all faults.
func (d *Disk) WriteFile(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := &inode{now: slices.Clone(data), safe: slices.Clone(data)}
	name = filepath.Clean(name)
	d.names[name], d.durable[name] = node, node
}

// Names gives the names of all files, sorted.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

func (d *Disk) find(op, name string) (*inode, error) {
	node := d.names[filepath.Clean(name)]
	if node == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return node, nil
}

// change applies a directory edit and keeps it as unsynced.
func (d *Disk) change(edits ...nameEdit) {
	applyNames(d.names, edits)
	d.unsynced = append(d.unsynced, edits)
}

func applyNames(names map[string]*inode, edits dirEdit) {
	for _, e := range edits {
		if e.node == nil {
			delete(names, e.name)
		} else {
			names[e.name] = e.node
		}
	}
}

// apply gives content after an edit. It never changes a slice in place that another inode may share.
func (e edit) apply(content []byte) []byte {
	if e.data == nil {
		if e.off <= int64(len(content)) {
			return slices.Clone(content[:e.off])
		}
		return append(slices.Clone(content), make([]byte, e.off-int64(len(content)))...)
	}
	if gap := e.off - int64(len(content)); gap > 0 {
		content = append(content, make([]byte, gap)...)
	}
	n := copy(content[e.off:], e.data)
	return append(content, e.data[n:]...)
}

// MakeDir makes a directory and its parents, mode 0700.
func (d *Disk) MakeDir(dir string) error {
	return d.do(Op{Kind: MakeDir, Name: dir}, func() error {
		for p := filepath.Clean(dir); p != "." && p != "/"; p = filepath.Dir(p) {
			if _, ok := d.dirs[p]; !ok {
				d.dirs[p] = 0o700
			}
		}
		return nil
	})
}

// DirMode gives the permission bits of a directory.
func (d *Disk) DirMode(dir string) (fs.FileMode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	mode, ok := d.dirs[filepath.Clean(dir)]
	if !ok {
		return 0, &fs.PathError{Op: "stat", Path: dir, Err: fs.ErrNotExist}
	}
	return mode, nil
}

// SetDirMode sets the mode of a directory, for tests.
func (d *Disk) SetDirMode(dir string, mode fs.FileMode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirs[filepath.Clean(dir)] = mode
}

// Tighten sets the mode of a directory to 0700.
func (d *Disk) Tighten(dir string) error {
	d.SetDirMode(dir, 0o700)
	return nil
}

// List gives the entries of a directory.
func (d *Disk) List(dir string) ([]journal.Entry, error) {
	dir = filepath.Clean(dir)
	var entries []journal.Entry
	err := d.do(Op{Kind: List, Name: dir}, func() error {
		if _, ok := d.dirs[dir]; !ok {
			return &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
		}
		for name := range d.dirs {
			if filepath.Dir(name) == dir && name != dir {
				entries = append(entries, journal.Entry{Name: filepath.Base(name), Dir: true})
			}
		}
		for name, node := range d.names {
			if filepath.Dir(name) == dir {
				size := int64(len(node.now)) + node.reserved
				entries = append(entries, journal.Entry{Name: filepath.Base(name), Size: size})
			}
		}
		slices.SortFunc(entries, func(a, b journal.Entry) int { return cmpString(a.Name, b.Name) })
		return nil
	})
	return entries, err
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Create makes an empty file, truncating one that exists.
func (d *Disk) Create(name string) (journal.File, error) {
	name = filepath.Clean(name)
	var f journal.File
	err := d.do(Op{Kind: Create, Name: name}, func() error {
		node := d.names[name]
		if node == nil {
			node = &inode{}
			d.change(nameEdit{name, node})
		} else {
			node.record(edit{off: 0})
			node.reserved = 0
		}
		f = &file{d, node, name}
		return nil
	})
	return f, err
}

// Open opens an existing file.
func (d *Disk) Open(name string) (journal.File, error) {
	return d.open(Op{Kind: Open, Name: name})
}

// OpenWrite opens an existing file.
func (d *Disk) OpenWrite(name string) (journal.File, error) {
	return d.open(Op{Kind: OpenWrite, Name: name})
}

func (d *Disk) open(op Op) (f journal.File, err error) {
	err = d.do(op, func() error {
		node, err := d.find("open", op.Name)
		f = &file{d, node, op.Name}
		return err
	})
	return f, err
}

// Rename replaces newname by oldname.
func (d *Disk) Rename(oldname, newname string) error {
	oldname, newname = filepath.Clean(oldname), filepath.Clean(newname)
	return d.do(Op{Kind: Rename, Name: newname}, func() error {
		node, err := d.find("rename", oldname)
		if err != nil {
			return err
		}
		d.change(nameEdit{newname, node}, nameEdit{oldname, nil})
		return nil
	})
}

// Link gives a file a second name.
func (d *Disk) Link(oldname, newname string) error {
	newname = filepath.Clean(newname)
	return d.do(Op{Kind: Link, Name: newname}, func() error {
		node, err := d.find("link", oldname)
		if err != nil {
			return err
		}
		if d.names[newname] != nil {
			return &fs.PathError{Op: "link", Path: newname, Err: fs.ErrExist}
		}
		d.change(nameEdit{newname, node})
		return nil
	})
}

// Remove removes a name.
func (d *Disk) Remove(name string) error {
	name = filepath.Clean(name)
	return d.do(Op{Kind: Remove, Name: name}, func() error {
		if _, err := d.find("remove", name); err != nil {
			return err
		}
		d.change(nameEdit{name, nil})
		return nil
	})
}

// SyncDir makes the unsynced changes of a directory durable.
func (d *Disk) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	return d.do(Op{Kind: SyncDir, Name: dir}, func() error {
		d.unsynced = slices.DeleteFunc(d.unsynced, func(edits dirEdit) bool {
			touches := slices.ContainsFunc(edits, func(e nameEdit) bool { return filepath.Dir(e.name) == dir })
			if touches {
				applyNames(d.durable, edits)
			}
			return touches
		})
		return nil
	})
}

// Preallocate makes a file that takes size bytes.
func (d *Disk) Preallocate(name string, size int64) error {
	name = filepath.Clean(name)
	return d.do(Op{Kind: Preallocate, Name: name}, func() error {
		if d.capacity > 0 && d.used()+size > d.capacity {
			return &fs.PathError{Op: "preallocate", Path: name, Err: syscall.ENOSPC}
		}
		node := d.names[name]
		if node == nil {
			node = &inode{}
			d.change(nameEdit{name, node})
		}
		node.now, node.safe, node.unsynced, node.reserved = nil, nil, nil, size
		return nil
	})
}

// Lock takes a lock; it ends with the Close of what it gives, or with a crash.
func (d *Disk) Lock(name string) (io.Closer, error) {
	name = filepath.Clean(name)
	var l io.Closer
	err := d.do(Op{Kind: Lock, Name: name}, func() error {
		if d.locks[name] {
			return &journal.LockedError{File: name}
		}
		if d.names[name] == nil {
			d.change(nameEdit{name, &inode{}})
		}
		d.locks[name] = true
		l = lock{d, name}
		return nil
	})
	return l, err
}

type lock struct {
	disk *Disk
	name string
}

func (l lock) Close() error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if !l.disk.locks[l.name] {
		return fmt.Errorf("journaltest: %s is not locked", l.name)
	}
	delete(l.disk.locks, l.name)
	return nil
}
