package activation

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxEntries bounds a release: a full Linux system has some 500,000 files.
const maxEntries = 1 << 20

// closureHash is lower-case RFC 4648 base32. Its first 32 characters are the first 160 bits of the SHA-256: as much
// as a Nix store path holds.
var closureHash = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// HashTree returns the 32 characters with which the name of a release starts: of the SHA-256 over the tree below
// dir, the first 160 bits in lower-case RFC 4648 base32.
//
// Hashed is, for every entry in the order of a depth-first walk with names sorted bytewise: its kind (d directory,
// f file, x executable file, l symlink), the length of its path, the path, and for a file the size and the content,
// for a symlink the length and the text. Owners, times and other mode bits do not count. Devices, sockets and pipes
// are refused, and so are files with set-id bits, since these would not be seen: class ErrTree.
func HashTree(dir string) (string, error) { return hashTree(context.Background(), dir) }

func hashTree(ctx context.Context, dir string) (string, error) {
	sum := sha256.New()
	err := walkTree(ctx, dir, func(path, rel string, info fs.FileInfo) error {
		return hashEntry(sum, path, rel, info)
	})
	if err != nil {
		return "", err
	}
	return closureHash.EncodeToString(sum.Sum(nil))[:32], nil
}

// walkTree visits dir and everything below it, refusing what no release may hold.
func walkTree(ctx context.Context, dir string, visit func(path, rel string, info fs.FileInfo) error) error {
	entries := 0
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("activation: tree: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if entries++; entries > maxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrTree, maxEntries)
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return fmt.Errorf("activation: tree: %w", err)
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("activation: tree: %w", err)
		}
		mode := info.Mode()
		special := mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 && mode.IsRegular()
		if special || !(mode.IsDir() || mode.IsRegular() || mode.Type() == fs.ModeSymlink) || (rel == "." && !mode.IsDir()) {
			return fmt.Errorf("%w: %s is %s", ErrTree, rel, mode)
		}
		return visit(path, rel, info)
	})
}

func hashEntry(sum hash.Hash, path, rel string, info fs.FileInfo) error {
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return frame(sum, 'd', rel)
	case mode.Type() == fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return fmt.Errorf("activation: tree: %w", err)
		}
		if err := frame(sum, 'l', rel); err != nil {
			return err
		}
		return frame(sum, ':', target)
	}
	kind := byte('f')
	if executable(mode) {
		kind = 'x'
	}
	if err := frame(sum, kind, rel); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(sum, "%d:", info.Size()); err != nil {
		return fmt.Errorf("activation: tree: %w", err)
	}
	return copyFile(sum, path, info.Size())
}

func executable(mode fs.FileMode) bool { return mode&0o100 != 0 }

// frame writes kind, length and text, so that no two trees can give the same bytes.
func frame(w io.Writer, kind byte, text string) error {
	if _, err := fmt.Fprintf(w, "%c%d:%s", kind, len(text), text); err != nil {
		return fmt.Errorf("activation: tree: %w", err)
	}
	return nil
}

// copyFile writes the file's content, which must be size bytes.
func copyFile(w io.Writer, path string, size int64) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("activation: tree: %w", err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("activation: tree: %w", closeErr)
		}
	}()
	n, err := io.Copy(w, io.LimitReader(f, size+1))
	if err != nil {
		return fmt.Errorf("activation: tree: %w", err)
	}
	if n != size {
		return fmt.Errorf("%w: %s changed while it was read", ErrTree, path)
	}
	return nil
}
