package release

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"nixfleet/strictjson"
)

const (
	dirMode  = 0o755 // everything here is public: it is signed, not secret
	fileMode = 0o644
)

// writer changes one published directory, whose lock it holds.
type writer struct {
	root string
	lock *os.File
	// before is called with what is about to happen before every change of the directory, and stops the release with
	// its error. Tests stop there, as a crash would.
	before func(step string) error
}

// lockDir makes the directory if it is missing, takes its lock and settles what an interrupted release left.
func lockDir(root string, before func(string) error) (*writer, error) {
	for _, dir := range []string{root, filepath.Join(root, rolloutsDir), filepath.Join(root, ticketsDir)} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(root, lockFile), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	// The kernel drops the lock with the process, however that ends.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", root, err), lock.Close())
	}
	w := &writer{root: root, lock: lock, before: before}
	if err := w.settle(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) close() error {
	if err := w.lock.Close(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

func (w *writer) step(format string, args ...any) error {
	if w.before == nil {
		return nil
	}
	return w.before(fmt.Sprintf(format, args...))
}

func (w *writer) path(name string) string { return filepath.Join(w.root, filepath.FromSlash(name)) }

// settle removes half-written files and puts a waiting signature beside the document it is of.
func (w *writer) settle() error {
	for _, dir := range []string{".", rolloutsDir, ticketsDir} {
		entries, err := os.ReadDir(w.path(dir))
		if err != nil {
			return fmt.Errorf("release: %w", err)
		}
		for _, e := range entries {
			if err := w.settleFile(filepath.ToSlash(filepath.Join(dir, e.Name()))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) settleFile(name string) error {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if strings.HasPrefix(base, tempPrefix) {
		return w.remove(name)
	}
	document, digits, pending := cutLast(name, SigSuffix+".")
	if !pending || len(digits) != pendingDigits {
		return nil
	}
	raw, err := (&Dir{root: w.root}).read(document, strictjson.DocumentLimits.Bytes)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil || pendingSig(document, raw) != name {
		return w.remove(name)
	}
	return w.rename(name, document+SigSuffix)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (w *writer) remove(name string) error {
	if err := w.step("remove %s", name); err != nil {
		return err
	}
	if err := os.Remove(w.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

func (w *writer) rename(from, to string) error {
	if err := w.step("rename to %s", to); err != nil {
		return err
	}
	if err := os.Rename(w.path(from), w.path(to)); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return w.sync(to)
}

// sync makes the directory of a file durable: what comes next relies on the rename before it.
func (w *writer) sync(name string) error {
	d, err := os.Open(filepath.Dir(w.path(name)))
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// put writes a file under a temporary name and puts it in place, whole and durable.
func (w *writer) put(name string, produce func(io.Writer) error) error {
	if err := w.step("write %s", name); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(w.path(name)), tempPrefix+"*")
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	const chunk = 1 << 20 // few writes for a file of many megabytes
	buffered := bufio.NewWriterSize(f, chunk)
	err = produce(buffered)
	if err == nil {
		err = errors.Join(buffered.Flush(), f.Chmod(fileMode), f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("release: %s: %w", name, err), os.Remove(f.Name()))
	}
	temp, err := filepath.Rel(w.root, f.Name())
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return w.rename(filepath.ToSlash(temp), name)
}

func (w *writer) putBytes(name string, data []byte) error {
	return w.put(name, func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	})
}

// document puts a document and its signature in place: the signature waits, findable by the document's hash, until its
// document is there. So at every instant the document that is there has a signature.
func (w *writer) document(name string, doc Document) error {
	waiting := pendingSig(name, doc.Raw)
	if err := w.putBytes(waiting, doc.Sig); err != nil {
		return err
	}
	if err := w.putBytes(name, doc.Raw); err != nil {
		return err
	}
	return w.rename(waiting, name+SigSuffix)
}
