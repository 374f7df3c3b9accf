package activation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// incoming is how the temporary names in a store begin. No closure name does.
const incoming = ".incoming-"

// AddRelease copies the tree below src into the store dir as a release called name, and returns its closure name,
// "HASH-name". A release that is there already stays as it is, and is verified. Errors: ErrClosureName for a name
// that cannot be one, ErrTree, ErrSignatureMismatch.
func AddRelease(storeDir, src, name string) (closure string, err error) {
	sum, err := HashTree(src)
	if err != nil {
		return "", err
	}
	closure = sum + "-" + name
	if err := checkClosure(closure); err != nil {
		return "", err
	}
	ctx := context.Background()
	if err := verify(ctx, filepath.Join(storeDir, closure), closure); !errors.Is(err, ErrNotFound) {
		return closure, err
	}
	if err := os.MkdirAll(storeDir, 0o755); err != nil {
		return "", fmt.Errorf("activation: %w", err)
	}
	return closure, copyIn(ctx, storeDir, src, closure)
}

// verify holds the tree at path against the hash in the closure's name. ErrNotFound if there is none.
func verify(ctx context.Context, path, closure string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, closure)
	}
	sum, err := hashTree(ctx, path)
	if errors.Is(err, ErrTree) { // it was no such tree when it was named
		return fmt.Errorf("%w: %s: %w", ErrSignatureMismatch, closure, err)
	}
	if err != nil {
		return err
	}
	if sum != closure[:len(sum)] {
		return fmt.Errorf("%w: %s has the content of %s", ErrSignatureMismatch, closure, sum)
	}
	return nil
}

// copyIn copies src into the store under a temporary name, verifies the copy, and gives it its name. So a name in
// the store is never half a release, whatever crashes; what a crash leaves behind is removed by the next copy.
func copyIn(ctx context.Context, storeDir, src, closure string) (err error) {
	tmp := filepath.Join(storeDir, incoming+closure)
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	err = walkTree(ctx, src, func(path, rel string, info fs.FileInfo) error {
		return copyEntry(path, filepath.Join(tmp, rel), info)
	})
	if err != nil {
		return err
	}
	// The copy is what will run, so the copy is what is verified, after it reached the disk.
	if err := verify(ctx, tmp, closure); err != nil {
		return err
	}
	if err := syncFS(storeDir); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(storeDir, closure)); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	return syncDir(storeDir)
}

func copyEntry(from, to string, info fs.FileInfo) error {
	mode := info.Mode()
	switch {
	case mode.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return fmt.Errorf("activation: %w", err)
		}
		return nil
	case mode.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err == nil {
			err = os.Symlink(target, to)
		}
		if err != nil {
			return fmt.Errorf("activation: %w", err)
		}
		return nil
	}
	perm := fs.FileMode(0o444) // a release is read and run, never written
	if executable(mode) {
		perm = 0o555
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	err = copyFile(f, from, info.Size())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return nil
}

// syncFS makes everything written to the file system of dir durable: one call instead of one for each file.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("activation: sync %s: %w", dir, err)
	}
	return nil
}

// Realise verifies the release in the store, or copies it from the releases folder and verifies the copy. What is
// there but wrong is ErrSignatureMismatch; what is nowhere is ErrNotFound.
func (d *Directory) Realise(ctx context.Context, closure string) error {
	if err := checkClosure(closure); err != nil {
		return err
	}
	err := verify(ctx, d.release(closure), closure)
	if !errors.Is(err, ErrNotFound) || d.cfg.Releases == "" {
		return err
	}
	src := filepath.Join(d.cfg.Releases, closure)
	if _, err := os.Lstat(src); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s, neither in %s nor in %s", ErrNotFound, closure, d.cfg.Store, d.cfg.Releases)
	}
	err = copyIn(ctx, d.cfg.Store, src, closure)
	if errors.Is(err, ErrTree) {
		return fmt.Errorf("%w: %s: %w", ErrSignatureMismatch, closure, err)
	}
	return err
}

// Prune removes the releases that are neither pinned, nor run, nor set for boot, and returns their names. Nothing in
// this package calls it: when to collect is the operator's decision. ErrBusy while a switch runs.
func (d *Directory) Prune(ctx context.Context) (removed []string, err error) {
	lock, err := d.takeLock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	keep, err := d.Pinned(ctx)
	if err != nil {
		return nil, err
	}
	for _, reading := range []func(context.Context) (string, error){d.Current, d.Profile} {
		closure, err := reading(ctx)
		if err != nil {
			return nil, err
		}
		keep = append(keep, closure)
	}
	entries, err := os.ReadDir(d.cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("activation: prune: %w", err)
	}
	for _, e := range entries {
		if checkClosure(e.Name()) != nil || slices.Contains(keep, e.Name()) {
			continue
		}
		if err := os.RemoveAll(d.release(e.Name())); err != nil {
			return removed, fmt.Errorf("activation: prune: %w", err)
		}
		removed = append(removed, e.Name())
	}
	return removed, nil
}

// takeLock takes the switch lock at once or not at all: ErrBusy. Closing the file gives it back.
func (d *Directory) takeLock() (*os.File, error) {
	f, err := os.OpenFile(d.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	return nil, errors.Join(fmt.Errorf("activation: lock: %w", err), f.Close())
}
