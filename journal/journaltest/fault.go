package journaltest

import (
	"math/rand/v2"
	"slices"
)

// Kind is a kind of operation.
type Kind string

// The kinds of operations.
const (
	MakeDir     Kind = "makedir"
	List        Kind = "list"
	Create      Kind = "create"
	Open        Kind = "open"
	OpenWrite   Kind = "openwrite"
	Read        Kind = "read"
	Write       Kind = "write"
	Sync        Kind = "sync"
	Truncate    Kind = "truncate"
	Rename      Kind = "rename"
	Link        Kind = "link"
	Remove      Kind = "remove"
	SyncDir     Kind = "syncdir"
	Preallocate Kind = "preallocate"
	Lock        Kind = "lock"
)

// reads tells the operations that change nothing a crash could show.
func (k Kind) reads() bool {
	return slices.Contains([]Kind{List, Open, OpenWrite, Read, Lock}, k)
}

// Op is one operation.
type Op struct {
	N       int // counts from 1 over the life of the disk
	Kind    Kind
	Name    string // the file; of a rename the new name
	Bytes   int    // of a write
	Written int    // inside a write: how many of them are in place
}

// Fault makes an operation fail. The zero Fault lets it pass.
type Fault struct {
	Err error
	// Short is how many bytes a failing write still writes.
	Short int
	// Done makes another operation than a write or an fsync happen although it fails.
	Done bool
}

// When says where in an operation a Point is.
type When uint8

// The moments of an operation.
const (
	Before When = iota
	Inside      // a write: some of its bytes are in place
	After
)

func (w When) String() string { return [...]string{"before", "inside", "after"}[w] }

// Point is one moment at which the machine may stop. It is valid until the
// function it was given to returns.
type Point struct {
	Op   Op
	When When
	disk *Disk
}

// Watch calls fn at every crash point from now on: before and after every
// operation that changes something, and inside writes at every byte. nil ends it.
func (d *Disk) Watch(fn func(Point)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = fn
}

// Inject asks fn before every operation whether it is to fail. nil ends it.
func (d *Disk) Inject(fn func(Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inject = fn
}

// Ops is how many operations there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

func (d *Disk) next(op *Op) Fault {
	d.ops++
	op.N = d.ops
	if d.inject == nil {
		return Fault{}
	}
	return d.inject(*op)
}

func (d *Disk) visit(op Op, when When) {
	if d.watch != nil && !op.Kind.reads() {
		d.watch(Point{op, when, d})
	}
}

// do runs one operation that either happens or does not.
func (d *Disk) do(op Op, body func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	fault := d.next(&op)
	d.visit(op, Before)
	err := fault.Err
	if err == nil {
		err = body()
	} else if fault.Done {
		if berr := body(); berr != nil {
			err = berr
		}
	}
	d.visit(op, After)
	return err
}

// Loss says what of the unsynced changes a crash takes.
type Loss struct {
	// Names: how many unsynced directory changes are kept, in order; negative: all.
	Names int
	// Data: false loses every unsynced change of files.
	Data bool
	// Holes loses the first half of the last unsynced write of every file and keeps the second.
	Holes bool
	// Random, if set, decides for every directory change and for every 32 bytes
	// of every write by itself; the other fields do not count.
	Random *rand.Rand
}

// sector is the unit in which Random loses bytes of a write: smaller than a
// real one, so that small test frames are torn inside too.
const sector = 32

// Kept loses nothing; Dropped loses all that was not synced.
var (
	Kept    = Loss{Names: -1, Data: true}
	Dropped = Loss{}
)

// Crash gives the disk as the machine finds it after the power went at this point.
func (p Point) Crash(l Loss) *Disk { return p.disk.crash(l) }

// Kill gives the disk as the next process finds it if this one dies at this point.
func (p Point) Kill() *Disk { return p.disk.kill() }

// Crash gives the disk as the machine finds it after the power went now.
func (d *Disk) Crash(l Loss) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crash(l)
}

// Kill gives the disk as the next process finds it if this one dies now: all
// is there, unsynced changes are still unsynced, locks are free.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kill()
}

func (d *Disk) kill() *Disk {
	k := New()
	k.capacity = d.capacity
	copied := map[*inode]*inode{nil: nil}
	of := func(n *inode) *inode {
		if c, ok := copied[n]; ok {
			return c
		}
		c := &inode{slices.Clone(n.now), slices.Clone(n.safe), slices.Clone(n.unsynced), n.reserved}
		copied[n] = c
		return c
	}
	for name, mode := range d.dirs {
		k.dirs[name] = mode
	}
	for name, n := range d.names {
		k.names[name] = of(n)
	}
	for name, n := range d.durable {
		k.durable[name] = of(n)
	}
	for _, edits := range d.unsynced {
		var c dirEdit
		for _, e := range edits {
			c = append(c, nameEdit{e.name, of(e.node)})
		}
		k.unsynced = append(k.unsynced, c)
	}
	return k
}

func (d *Disk) crash(l Loss) *Disk {
	k := d.kill()
	k.names = k.durable
	for i, edits := range k.unsynced {
		keep := l.Names < 0 || i < l.Names
		if l.Random != nil {
			keep = l.Random.IntN(2) == 0
		}
		if keep {
			applyNames(k.names, edits)
		}
	}
	k.unsynced = nil
	k.durable = make(map[string]*inode, len(k.names))
	for _, name := range k.Names() {
		n := k.names[name]
		k.durable[name] = n
		if n.unsynced != nil {
			n.safe = l.survivors(n.safe, n.unsynced)
		}
		n.now, n.unsynced = slices.Clone(n.safe), nil
	}
	return k
}

// survivors gives a file's bytes after the loss.
func (l Loss) survivors(content []byte, edits []edit) []byte {
	for i, e := range edits {
		switch {
		case l.Random != nil:
			content = e.lossy(content, l.Random)
		case !l.Data:
		case l.Holes && i == len(edits)-1 && len(e.data) > 1:
			half := len(e.data) / 2
			content = edit{e.off + int64(half), e.data[half:]}.apply(content)
		default:
			content = e.apply(content)
		}
	}
	return content
}

func (e edit) lossy(content []byte, r *rand.Rand) []byte {
	if e.data == nil {
		if r.IntN(2) == 0 {
			return e.apply(content)
		}
		return content
	}
	for at := 0; at < len(e.data); at += sector {
		if r.IntN(2) == 0 {
			content = edit{e.off + int64(at), e.data[at:min(at+sector, len(e.data))]}.apply(content)
		}
	}
	return content
}
