package testreq

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllMeansNixChromiumAndPostgresButNotSystemd(t *testing.T) {
	for part, want := range map[Part]bool{Nix: true, Chromium: true, Postgres: true, Systemd: false} {
		if got, err := requires("all", part); err != nil || got != want {
			t.Errorf("requires(all, %v) = %v, %v; want %v", part, got, err, want)
		}
	}
}

func TestAListRequiresWhatItNamesAndNothingElse(t *testing.T) {
	for value, want := range map[string][]Part{
		"":                 {},
		" ":                {},
		"nix":              {Nix},
		"systemd":          {Systemd},
		"chromium, nix":    {Chromium, Nix},
		"all,systemd":      {Nix, Chromium, Postgres, Systemd},
		"postgres,":        {Postgres},
		"systemd,postgres": {Systemd, Postgres},
	} {
		for _, p := range parts {
			wanted := false
			for _, w := range want {
				wanted = wanted || w == p.part
			}
			if got, err := requires(value, p.part); err != nil || got != wanted {
				t.Errorf("requires(%q, %v) = %v, %v; want %v", value, p.part, got, err, wanted)
			}
		}
	}
}

func TestAnUnknownWordIsAnErrorWhateverIsAskedFor(t *testing.T) {
	for _, value := range []string{"postgresql", "nix,chrome", "ALL", "1"} {
		for _, p := range parts {
			if _, err := requires(value, p.part); !errors.Is(err, ErrUnknownPart) {
				t.Errorf("requires(%q, %v): got %v, want ErrUnknownPart", value, p.part, err)
			}
		}
	}
}

func TestPartsAreInTheirOwnPlaces(t *testing.T) {
	for i, p := range parts {
		if int(p.part) != i || p.part.String() != p.name {
			t.Errorf("parts[%d] is %v, called %s", i, p.part, p.name)
		}
	}
	if got := Part(99).String(); got != "part 99" {
		t.Errorf("Part(99) = %q", got)
	}
}

func TestTheNewestCompletePostgresIsTaken(t *testing.T) {
	root := t.TempDir()
	t.Setenv("PATH", "")
	if where, ok := postgres(machine{root}); ok {
		t.Errorf("an empty machine has postgres in %q", where)
	}
	for _, v := range []string{"9", "15", "17"} {
		install(t, filepath.Join(root, "usr/lib/postgresql", v, "bin"), postgresPrograms...)
	}
	install(t, filepath.Join(root, "usr/lib/postgresql/18/bin"), "initdb") // the client tools alone
	if where, ok := postgres(machine{root}); !ok || where != filepath.Join(root, "usr/lib/postgresql/17/bin") {
		t.Errorf("postgres is in %q, %v; want 17", where, ok)
	}
}

func TestPostgresInPathServesWhereThereIsNoDebian(t *testing.T) {
	bin := t.TempDir()
	install(t, bin, postgresPrograms...)
	t.Setenv("PATH", bin)
	if where, ok := postgres(machine{t.TempDir()}); !ok || where != bin {
		t.Errorf("postgres is in %q, %v; want %q", where, ok, bin)
	}
}

func TestNixWithoutItsOldCommandsIsNoNix(t *testing.T) {
	bin := t.TempDir()
	install(t, bin, "nix")
	t.Setenv("PATH", bin)
	if where, ok := parts[Nix].locate(machine{"/"}); ok {
		t.Errorf("nix alone was taken for nix in %q", where)
	}
	install(t, bin, "nix-store", "nix-env")
	if where, ok := parts[Nix].locate(machine{"/"}); !ok || where != bin {
		t.Errorf("nix is in %q, %v; want %q", where, ok, bin)
	}
}

func TestSystemdInstalledIsNotSystemdRunning(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	install(t, bin, "systemctl")
	t.Setenv("PATH", bin)
	if _, ok := systemd(machine{root}); ok {
		t.Error("systemctl alone was taken for a running systemd")
	}
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	if where, ok := systemd(machine{root}); !ok || where != filepath.Join(bin, "systemctl") {
		t.Errorf("systemctl is %q, %v", where, ok)
	}
}

// childVariable makes this test binary run the one test that Needs something.
const childVariable = "NIXFLEET_TESTREQ_CHILD"

func TestChildNeedsChromium(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		return // only the tests below run it, in a process of its own
	}
	t.Log("chromium is " + Need(t, Chromium))
}

func TestAMissingPartSkipsWithOneLineThatNamesThePackage(t *testing.T) {
	out, ok := child(t, t.TempDir(), "postgres")
	if !ok || !strings.Contains(out, "--- SKIP: TestChildNeedsChromium") {
		t.Errorf("want a skip, got (passed %v):\n%s", ok, out)
	}
	if n := strings.Count(out, "apt-get install chromium"); n != 1 {
		t.Errorf("want one line with the package's name, got %d:\n%s", n, out)
	}
}

func TestAMissingPartFailsWhereItIsRequired(t *testing.T) {
	out, ok := child(t, t.TempDir(), "all")
	if ok || !strings.Contains(out, "--- FAIL: TestChildNeedsChromium") || !strings.Contains(out, "apt-get install chromium") {
		t.Errorf("want a failure that names the package, got (passed %v):\n%s", ok, out)
	}
}

func TestAWrongWordFailsEvenWhereThePartIsThere(t *testing.T) {
	bin := t.TempDir()
	install(t, bin, "chromium")
	if out, ok := child(t, bin, "chrome"); ok {
		t.Errorf("want a failure, got:\n%s", out)
	}
}

func TestAPartThatIsThereIsFound(t *testing.T) {
	bin := t.TempDir()
	install(t, bin, "chromium")
	out, ok := child(t, bin, "all")
	if !ok || !strings.Contains(out, "chromium is "+filepath.Join(bin, "chromium")) {
		t.Errorf("want chromium found in %s, got (passed %v):\n%s", bin, ok, out)
	}
}

// child runs TestChildNeedsChromium with nothing but bin in PATH, and tells
// whether it passed or skipped.
func child(t *testing.T, bin, require string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildNeedsChromium$", "-test.v")
	cmd.Env = []string{"PATH=" + bin, childVariable + "=1", Variable + "=" + require}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

// install puts empty programs into a folder.
func install(t *testing.T, folder string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
