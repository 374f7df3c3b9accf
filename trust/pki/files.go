package pki

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The classes of refused files.
var (
	ErrExists      = errors.New("pki: the file is there already and is not overwritten")
	ErrPermissions = errors.New("pki: the private key may be read by others than its owner")
	ErrMalformed   = errors.New("pki: malformed")
)

const (
	privateMode = 0o600
	publicMode  = 0o644
	dirMode     = 0o700
	maxPEM      = 1 << 20 // a pool of roots is the largest file read here
)

// WritePrivate makes a file that only its owner may read. It refuses, with class [ErrExists], a path that is there.
// The directory is made, 0700, if it is missing; file and directory are on the disk when it returns.
func WritePrivate(path string, data []byte) error { return create(path, data, privateMode) }

// WritePublic is [WritePrivate] of a file that everybody may read.
func WritePublic(path string, data []byte) error { return create(path, data, publicMode) }

func create(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, path)
	}
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	_, err = f.Write(data)
	// The mode given to open is subject to the umask, which may not open what must stay closed but may close more.
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		// Half a key under the name of a whole one would be refused for ever, as nothing is overwritten.
		return errors.Join(fmt.Errorf("pki: %s: %w", path, err), os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("pki: %s: %w", dir, err)
	}
	return nil
}

// ReadPrivate reads a private key's file of at most 1 MiB. One that group or others may read is refused with class
// [ErrPermissions]: it must be taken for known to them.
func ReadPrivate(path string) ([]byte, error) {
	return read(path, func(info fs.FileInfo) error {
		const others = 0o077
		if info.Mode().Perm()&others != 0 {
			return fmt.Errorf("%w: %s has mode %04o, want 0600", ErrPermissions, path, info.Mode().Perm())
		}
		return nil
	})
}

func readPublic(path string) ([]byte, error) {
	return read(path, func(fs.FileInfo) error { return nil })
}

func read(path string, check func(fs.FileInfo) error) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	data, err := readChecked(f, check)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return data, nil
}

// readChecked looks at the file that is open, not at its name, which may name another one by then.
func readChecked(f *os.File, check func(fs.FileInfo) error) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrMalformed, f.Name(), maxPEM)
	}
	return data, nil
}
