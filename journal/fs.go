package journal

import (
	"io"
	"io/fs"
)

// FS is the seam to the file system, small enough to be failed and crashed at
// every operation (docs/design/04-agent.md, 4.2). Errors must satisfy
// errors.Is for fs.ErrNotExist, fs.ErrExist and syscall.ENOSPC.
type FS interface {
	// MakeDir makes a directory and its parents with mode 0700, durably; an existing one is left as it is.
	MakeDir(dir string) error
	// DirMode gives the permission bits of a directory.
	DirMode(dir string) (fs.FileMode, error)
	// Tighten sets the mode of a directory to 0700.
	Tighten(dir string) error
	// List gives the entries of a directory in any order.
	List(dir string) ([]Entry, error)
	// Create makes an empty file with mode 0600, truncating one that exists.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)
	// Rename replaces newname by oldname, atomically.
	Rename(oldname, newname string) error
	// Link gives a file a second name; fs.ErrExist if that is taken.
	Link(oldname, newname string) error
	// Remove removes a file.
	Remove(name string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Preallocate makes a file that really takes size bytes of the disk.
	Preallocate(name string, size int64) error
	// Lock takes an exclusive lock without waiting. A held one gives a *LockedError.
	Lock(name string) (io.Closer, error)
}

// Entry is one name in a directory.
type Entry struct {
	Name string
	Dir  bool
	Size int64 // bytes; files only
}

// File is an open file. A WriteAt that writes less than it was given returns an error.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
}
