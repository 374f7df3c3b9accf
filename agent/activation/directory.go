package activation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"nixfleet/clock"
)

// DirectoryConfig says where a directory backend has its things. Paths are absolute.
//
//	Root/store/CLOSURE    releases
//	Root/current-system   symlink to the release that the host runs
//	Root/profile          symlink to the release that the host would boot
//	Root/pins/CLOSURE     symlinks to the releases that Prune must keep
//	Root/switch.lock      held, by flock(2), for as long as a switch runs
//	Root/units/UNIT/      process.json, result.json and output of one switch
type DirectoryConfig struct {
	Root          string
	Store         string        // "": Root/store
	CurrentSystem string        // "": Root/current-system
	Releases      string        // where Realise copies releases from, "": the store has them all
	Helper        []string      // argument list that starts a program whose main calls Helper
	Grace         time.Duration // how long a stopped switch has before it is killed, 0: DefaultGrace
}

// DefaultGrace is the time between asking a switch to end and killing it.
const DefaultGrace = 30 * time.Second

// Directory is the backend that needs nothing but a Linux file system. Releases are directories whose name holds
// the hash of their content, and bin/switch-to-configuration in one makes the host run it.
//
// The program is started as `bin/switch-to-configuration switch`, in `/`, with an environment of PATH, HOME, LC_ALL
// and NIXFLEET_ROOT, NIXFLEET_CLOSURE (the release's path), NIXFLEET_CURRENT_SYSTEM and NIXFLEET_PROFILE (the two
// symlinks). Exit 0 is success, and then the helper, not the program, swaps current-system: until the program has
// succeeded the host runs what it ran. What it starts and leaves running must be a session of its own with its
// output sent elsewhere: the program's process group is killed when a switch times out.
//
// A service manager that ends the agent must leave the switch alone: under systemd the agent's unit needs
// KillMode=process.
//
// A release with a file nixfleet-deferred names in its first line a component that cannot be swapped live. Unless
// the running release has the same file, byte for byte, the program is not run: the release is only set for boot.
type Directory struct {
	cfg   DirectoryConfig
	clock clock.Clock
}

// OpenDirectory makes the folders that are missing, with mode 0700 but for the store, and returns the backend.
func OpenDirectory(cfg DirectoryConfig, clk clock.Clock) (*Directory, error) {
	if cfg.Store == "" {
		cfg.Store = filepath.Join(cfg.Root, "store")
	}
	if cfg.CurrentSystem == "" {
		cfg.CurrentSystem = filepath.Join(cfg.Root, "current-system")
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	for _, path := range []string{cfg.Root, cfg.Store, cfg.CurrentSystem} {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("activation: path %q is not absolute", path)
		}
	}
	if cfg.Releases != "" && !filepath.IsAbs(cfg.Releases) {
		return nil, fmt.Errorf("activation: path %q is not absolute", cfg.Releases)
	}
	d := &Directory{cfg: cfg, clock: clk}
	for dir, mode := range map[string]fs.FileMode{cfg.Store: 0o755, d.pins(): 0o700, d.units(): 0o700} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return nil, fmt.Errorf("activation: %w", err)
		}
	}
	return d, nil
}

func (d *Directory) profile() string { return filepath.Join(d.cfg.Root, "profile") }
func (d *Directory) pins() string    { return filepath.Join(d.cfg.Root, "pins") }
func (d *Directory) units() string   { return filepath.Join(d.cfg.Root, "units") }
func (d *Directory) lock() string    { return filepath.Join(d.cfg.Root, "switch.lock") }

func (d *Directory) release(closure string) string { return filepath.Join(d.cfg.Store, closure) }

// closureName is the form of a release's name: 32 characters of hash, a dash, and a name that can be no path. A
// directory name has at most 255 bytes, and 244 leave room for the temporary names beside it.
var closureName = regexp.MustCompile(`^[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,211}$`)

func checkClosure(name string) error {
	if !closureName.MatchString(name) {
		return fmt.Errorf("%w: %q", ErrClosureName, clip(name))
	}
	return nil
}

// clip keeps messages about names from outside short.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// Method is "directory".
func (d *Directory) Method() string { return "directory" }

// Current returns the closure that current-system points to, "" if there is no such symlink yet.
func (d *Directory) Current(context.Context) (string, error) { return linked(d.cfg.CurrentSystem) }

// Profile returns the closure that profile points to, "" if there is no such symlink yet.
func (d *Directory) Profile(context.Context) (string, error) { return linked(d.profile()) }

func linked(link string) (string, error) {
	target, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("activation: %w", err)
	}
	closure := filepath.Base(target)
	if err := checkClosure(closure); err != nil {
		return "", fmt.Errorf("%w (where %s points)", err, link)
	}
	return closure, nil
}

// SetProfile swaps the profile symlink in one step.
func (d *Directory) SetProfile(_ context.Context, closure string) error {
	return d.point(d.profile(), closure)
}

// point makes link a symlink to the release, in one step.
func (d *Directory) point(link, closure string) error {
	if err := checkClosure(closure); err != nil {
		return err
	}
	if err := renameio.Symlink(d.release(closure), link); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	return syncDir(filepath.Dir(link))
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("activation: sync %s: %w", dir, err)
	}
	return nil
}

// CompleteBoot does what booting does: the host now runs its profile. Whatever starts the machine calls it, before
// the agent runs; a Deferred release completes by it.
func (d *Directory) CompleteBoot(ctx context.Context) error {
	closure, err := d.Profile(ctx)
	if err != nil || closure == "" {
		return err
	}
	return d.point(d.cfg.CurrentSystem, closure)
}

// Busy says whether anybody holds the switch lock. It takes the lock shared, so that two who ask do not see each
// other; a switch that starts in this instant tries again.
func (d *Directory) Busy(context.Context) (bool, error) {
	f, err := os.OpenFile(d.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, fmt.Errorf("activation: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	busy := errors.Is(err, unix.EWOULDBLOCK)
	if busy {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil { // closing unlocks
		return false, fmt.Errorf("activation: lock: %w", err)
	}
	return busy, nil
}

// Pin keeps the release from Prune.
func (d *Directory) Pin(_ context.Context, closure string) error {
	if err := checkClosure(closure); err != nil { // before it becomes the pin's own path
		return err
	}
	return d.point(filepath.Join(d.pins(), closure), closure)
}

// Unpin ends a Pin; a release that is not pinned is none the worse.
func (d *Directory) Unpin(_ context.Context, closure string) error {
	if err := checkClosure(closure); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.pins(), closure)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("activation: unpin: %w", err)
	}
	return nil
}

// Pinned returns the pinned releases in order of name.
func (d *Directory) Pinned(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.pins())
	if err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	var pinned []string
	for _, e := range entries {
		if checkClosure(e.Name()) == nil { // anything else is a pin that a crash left half made
			pinned = append(pinned, e.Name())
		}
	}
	slices.Sort(pinned)
	return pinned, nil
}
