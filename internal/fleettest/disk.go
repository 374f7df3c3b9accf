package fleettest

import (
	"os"
	"path/filepath"
)

// CopyState gives a copy of what the agent keeps, as a backup has it. The agent must not run.
func (h *Host) CopyState() (dir string) {
	h.t.Helper()
	h.idle()
	dir = filepath.Join(h.t.TempDir(), "state")
	h.s.must(os.CopyFS(dir, os.DirFS(h.StateDir())))
	return dir
}

// RestoreState puts such a copy in the place of what is there.
func (h *Host) RestoreState(dir string) {
	h.t.Helper()
	h.WipeState()
	h.s.must(os.CopyFS(h.StateDir(), os.DirFS(dir)))
	h.private()
}

// WipeState removes all that the agent keeps. The folder stays: it may be a mount point.
func (h *Host) WipeState() {
	h.t.Helper()
	h.idle()
	entries, err := os.ReadDir(h.StateDir())
	h.s.must(err)
	for _, e := range entries {
		h.s.must(os.RemoveAll(filepath.Join(h.StateDir(), e.Name())))
	}
}

// private sets the modes that os.CopyFS widens.
func (h *Host) private() {
	h.t.Helper()
	h.s.must(filepath.WalkDir(h.StateDir(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	}))
}

func (h *Host) idle() {
	h.t.Helper()
	if h.agent != nil {
		h.t.Fatalf("the agent of %s runs", h.Name)
	}
}

// Clone makes a second machine with the host's name, key, certificate and state, and a root of its own: what comes of
// a disk image that was started twice. The agent must not run. Clones are no hosts of the fleet: the test stops them.
func (h *Host) Clone() *Host {
	h.t.Helper()
	h.idle()
	c := h.s.folder(h.Name, h.Name+"-clone")
	for from, to := range map[string]string{h.hostKey(): c.hostKey(), h.certificate(): c.certificate()} {
		data, err := os.ReadFile(from)
		h.s.must(err)
		h.s.must(os.WriteFile(to, data, 0o600))
	}
	h.s.must(os.RemoveAll(c.StateDir()))
	h.s.must(os.CopyFS(c.StateDir(), os.DirFS(h.StateDir())))
	c.private()
	closure := h.Runs()
	h.s.must(os.CopyFS(filepath.Join(c.Root, "store"), os.DirFS(filepath.Join(h.Root, "store"))))
	for _, link := range []string{"current-system", "profile"} {
		h.s.must(os.Symlink(filepath.Join(c.Root, "store", closure), filepath.Join(c.Root, link)))
	}
	h.t.Cleanup(c.close)
	return c
}
