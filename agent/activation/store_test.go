package activation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nixfleet/agent/activation"
)

// tree makes a small release tree and then changes it.
func tree(t *testing.T, change func(dir string) error) string {
	t.Helper()
	dir := t.TempDir()
	err := errors.Join(
		os.Mkdir(filepath.Join(dir, "bin"), 0o755),
		os.WriteFile(filepath.Join(dir, "bin", "run"), []byte("run\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc"), []byte("data"), 0o644),
		os.Symlink("bin/run", filepath.Join(dir, "link")),
	)
	if err == nil && change != nil {
		err = change(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheHashOfATreeIsAsWrittenDown(t *testing.T) {
	got, err := activation.HashTree(tree(t, nil))
	// printf 'd1:.d3:binx7:bin/run4:run\nf3:etc4:datal4:link:7:bin/run' | sha256sum, its first 160 bits in base32
	if want := "stdxuehkqo2rsznbji7bwmorpwtabqzj"; err != nil || got != want {
		t.Fatalf("got %s, %v, want %s", got, err, want)
	}
}

func TestTheHashSeesEveryChangeThatMatters(t *testing.T) {
	plain, err := activation.HashTree(tree(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{plain: "nothing"}
	for name, change := range map[string]func(dir string) error{
		"content":     func(d string) error { return os.WriteFile(filepath.Join(d, "etc"), []byte("Data"), 0o644) },
		"exec bit":    func(d string) error { return os.Chmod(filepath.Join(d, "etc"), 0o755) },
		"name":        func(d string) error { return os.Rename(filepath.Join(d, "etc"), filepath.Join(d, "etd")) },
		"one more":    func(d string) error { return os.WriteFile(filepath.Join(d, "more"), nil, 0o644) },
		"one less":    func(d string) error { return os.Remove(filepath.Join(d, "etc")) },
		"empty dir":   func(d string) error { return os.Mkdir(filepath.Join(d, "void"), 0o755) },
		"link target": func(d string) error { return relinkTo(filepath.Join(d, "link"), "bin/ruN") },
		"file for link": func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "link")), os.WriteFile(filepath.Join(d, "link"), []byte("bin/run"), 0o644))
		},
	} {
		got, err := activation.HashTree(tree(t, change))
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[got]; other != "" {
			t.Errorf("%s hashes as %s", name, other)
		}
		seen[got] = name
	}
	unseen, err := activation.HashTree(tree(t, func(d string) error { return os.Chmod(filepath.Join(d, "etc"), 0o400) }))
	if err != nil || unseen != plain {
		t.Errorf("other mode bits count: %s, %v", unseen, err)
	}
}

func relinkTo(link, target string) error {
	return errors.Join(os.Remove(link), os.Symlink(target, link))
}

func TestATreeWithWhatNoReleaseMayHoldIsRefused(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"pipe":   func(d string) error { return unix.Mkfifo(filepath.Join(d, "p"), 0o600) },
		"socket": func(d string) error { return unix.Mknod(filepath.Join(d, "s"), unix.S_IFSOCK|0o600, 0) },
		"set-id": func(d string) error { return os.Chmod(filepath.Join(d, "bin", "run"), 0o755|os.ModeSetuid) },
	} {
		if got, err := activation.HashTree(tree(t, change)); !errors.Is(err, activation.ErrTree) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	dir := t.TempDir()
	if err := os.Symlink(tree(t, nil), filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	if _, err := activation.HashTree(filepath.Join(dir, "root")); !errors.Is(err, activation.ErrTree) {
		t.Errorf("a symlink as root: %v", err)
	}
}

func TestANameThatIsNoClosureNameReachesNoPath(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	hash := strings.Repeat("a", 32)
	for _, name := range []string{
		"", ".", "..", "../" + hash + "-x", hash, hash + "-", hash + "-a/b", hash + "-a\x00b", hash + "-a b", hash + "-ä", hash + "-x\n",
		strings.Repeat("A", 32) + "-x", hash[:31] + "-x", "-" + hash + "-x", hash + "-" + strings.Repeat("x", 212),
	} {
		for method, err := range map[string]error{
			"SetProfile": r.dir.SetProfile(ctx, name), "Realise": r.dir.Realise(ctx, name), "Switch": r.dir.Switch(ctx, name, "unit"),
			"Pin": r.dir.Pin(ctx, name), "Unpin": r.dir.Unpin(ctx, name),
		} {
			if !errors.Is(err, activation.ErrClosureName) {
				t.Errorf("%s(%q): %v", method, name, err)
			}
		}
	}
	for _, unit := range []string{"", ".", "..", "a/b", "-x", "a b", strings.Repeat("u", 129)} {
		_, unitErr := r.dir.Unit(ctx, unit)
		for method, err := range map[string]error{"Unit": unitErr, "Stop": r.dir.Stop(ctx, unit), "Switch": r.dir.Switch(ctx, hash+"-x", unit)} {
			if !errors.Is(err, activation.ErrUnitName) {
				t.Errorf("%s(%q): %v", method, unit, err)
			}
		}
	}
}

func TestALinkThatPointsToNoReleaseIsAnErrorNotAClosure(t *testing.T) {
	r := newRig(t)
	r.ok(os.Symlink("/usr", filepath.Join(r.root, "current-system")))
	if got, err := r.dir.Current(context.Background()); !errors.Is(err, activation.ErrClosureName) {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestAddingAReleaseTwiceIsAddingItOnce(t *testing.T) {
	store, src := t.TempDir(), tree(t, nil)
	first, err := activation.AddRelease(store, src, "v1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := activation.AddRelease(store, src, "v1")
	if err != nil || first != second {
		t.Fatalf("%s, %s, %v", first, second, err)
	}
	if err := os.WriteFile(filepath.Join(store, first, "more"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := activation.AddRelease(store, src, "v1"); !errors.Is(err, activation.ErrSignatureMismatch) {
		t.Fatalf("a spoiled release was taken for the one to add: %v", err)
	}
	if _, err := activation.AddRelease(store, src, "a/b"); !errors.Is(err, activation.ErrClosureName) {
		t.Fatal(err)
	}
}

func TestACopyThatACrashLeftHalfMadeIsNoRelease(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	half := filepath.Join(r.root, "store", ".incoming-"+v1)
	r.ok(os.MkdirAll(half, 0o755))
	r.ok(os.WriteFile(filepath.Join(half, "junk"), nil, 0o644))
	r.ok(r.dir.Realise(context.Background(), v1))
	if _, err := os.Lstat(half); !os.IsNotExist(err) {
		t.Fatalf("the half copy is still there: %v", err)
	}
}

func TestACancelledCopyLeavesNothingBehind(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.dir.Realise(ctx, v1); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(r.root, "store"))
	if err != nil || len(entries) != 0 {
		t.Fatalf("%v, %v", entries, err)
	}
}

func TestPruneKeepsWhatIsPinnedRunsOrBoots(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	running, boots, pinned, loose := r.publish("running"), r.publish("boots"), r.publish("pinned"), r.publish("loose")
	r.boot(running)
	for _, c := range []string{boots, pinned, loose} {
		r.ok(r.dir.Realise(ctx, c))
	}
	r.ok(r.dir.SetProfile(ctx, boots))
	r.ok(r.dir.Pin(ctx, pinned))
	r.ok(r.dir.Pin(ctx, pinned))
	if got, err := r.dir.Pinned(ctx); err != nil || !slices.Equal(got, []string{pinned}) {
		t.Fatalf("pinned are %v, %v", got, err)
	}
	removed, err := r.dir.Prune(ctx)
	if err != nil || !slices.Equal(removed, []string{loose}) {
		t.Fatalf("removed %v, %v", removed, err)
	}
	r.ok(r.dir.Unpin(ctx, pinned))
	r.ok(r.dir.Unpin(ctx, pinned))
	removed, err = r.dir.Prune(ctx)
	if err != nil || !slices.Equal(removed, []string{pinned}) {
		t.Fatalf("removed %v, %v", removed, err)
	}
}

func TestOldUnitsAreForgotten(t *testing.T) {
	r := newRig(t)
	v1 := r.publish("v1")
	in := r.intent(v1)
	for i := range uint32(20) {
		in.Unit = activation.UnitName("edge@1", false, i)
		expect[activation.Completed](t, r.carryOut(in))
	}
	entries, err := os.ReadDir(filepath.Join(r.root, "units"))
	if err != nil || len(entries) > 17 {
		t.Fatalf("%d units are kept, %v", len(entries), err)
	}
	if state, err := r.dir.Unit(context.Background(), in.Unit); err != nil || state.Result == nil {
		t.Fatalf("the newest unit was forgotten: %+v, %v", state, err)
	}
}

func TestUnitNamesDifferForEveryAttempt(t *testing.T) {
	seen := map[string]bool{}
	for _, rollout := range []string{"edge@1", "edge@2", strings.Repeat("x", 200) + "@" + strings.Repeat("y", 50)} {
		for attempt := range uint32(3) {
			for _, back := range []bool{false, true} {
				seen[activation.UnitName(rollout, back, attempt)] = true
			}
		}
	}
	if len(seen) != 18 {
		t.Fatalf("%d names for 18 attempts", len(seen))
	}
}

func TestATailIsCutBetweenRunesAndAlwaysValid(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("é", 3000), strings.Repeat("a", 4095) + "€", strings.Repeat("\xff", 9000), "a" + strings.Repeat("€", 1365) + "x"} {
		got := activation.Tail(s)
		if len(got) > activation.MaxTail || strings.ContainsRune(got, '\uFFFD') || (len(s) <= activation.MaxTail && got != s) {
			t.Errorf("%q of %d bytes gives %d", fmt.Sprintf("%.8s", s), len(s), len(got))
		}
	}
	long := activation.SwitchFailed{Phase: activation.PhaseSwitch, Exit: 1, Output: strings.Repeat("é", 4000)}.Tail()
	if len(long) > activation.MaxTail || !strings.HasPrefix(long, "switch failed in phase switch with exit 1\n") {
		t.Errorf("%d bytes: %.60q", len(long), long)
	}
}
