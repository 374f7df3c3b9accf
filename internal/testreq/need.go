package testreq

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Variable is the environment variable that turns skips into failures.
const Variable = "NIXFLEET_TEST_REQUIRE"

// Part is something a machine may have.
type Part int

const (
	// Nix is the nix package manager: Need returns the folder that holds
	// nix, nix-store and nix-env.
	Nix Part = iota
	// Chromium is the browser: Need returns the path of its program. As root it
	// wants --no-sandbox.
	Chromium
	// Postgres is the PostgreSQL server: Need returns the folder that holds
	// initdb, pg_ctl and postgres. They refuse to run as root: a test that is
	// root starts them as the user postgres, which Debian's package makes, with
	// SysProcAttr.Credential, on a data folder that this user owns.
	Postgres
	// Systemd is a running systemd: Need returns the path of systemctl.
	Systemd
)

// ErrUnknownPart tells that Variable names something that is no part.
var ErrUnknownPart = errors.New("testreq: unknown part")

// parts has the facts of every Part.
var parts = [...]struct {
	part    Part
	name    string // as Variable has it
	debian  string // the package to install
	inAll   bool   // "all" means it too
	locate  func(machine) (string, bool)
	missing string // what was looked for
}{
	{Nix, "nix", "nix-bin", true, programsTogether("nix", "nix-store", "nix-env"), "nix, nix-store and nix-env in PATH"},
	{Chromium, "chromium", "chromium", true, program("chromium"), "chromium in PATH"},
	{Postgres, "postgres", "postgresql", true, postgres, "initdb, pg_ctl and postgres in /usr/lib/postgresql/*/bin or PATH"},
	{Systemd, "systemd", "systemd", false, systemd, "a running systemd"},
}

func (p Part) String() string {
	if p < 0 || int(p) >= len(parts) {
		return "part " + strconv.Itoa(int(p))
	}
	return parts[p].name
}

// Need returns where the part is (see each Part for which path). Where the
// machine lacks it, the test is skipped, or fails if Variable asks for the part.
func Need(t testing.TB, part Part) string {
	t.Helper()
	required, err := requires(os.Getenv(Variable), part)
	if err != nil {
		t.Fatal(err)
	}
	facts := parts[part]
	where, ok := facts.locate(machine{root: "/"})
	if ok {
		return where
	}
	line := fmt.Sprintf("this test needs %s: apt-get install %s (looked for %s)", facts.name, facts.debian, facts.missing)
	if required {
		t.Fatalf("%s; %s=%s forbids skipping it", line, Variable, os.Getenv(Variable))
	}
	t.Skip(line)
	return ""
}

// requires tells whether a value of Variable asks for the part. The whole value
// is read whichever part is asked for, so that a wrong word is always found.
func requires(value string, part Part) (bool, error) {
	required := false
	for word := range strings.SplitSeq(value, ",") {
		word = strings.TrimSpace(word)
		known := word == "" || word == "all"
		for _, p := range parts {
			known = known || word == p.name
			if p.part == part && (word == p.name || word == "all" && p.inAll) {
				required = true
			}
		}
		if !known {
			return false, fmt.Errorf("%w %q in %s: it takes all, or some of nix, chromium, postgres, systemd", ErrUnknownPart, word, Variable)
		}
	}
	return required, nil
}

// machine is where parts are looked for: the file system below root, and PATH.
type machine struct{ root string }

// program looks for one program in PATH.
func program(name string) func(machine) (string, bool) {
	return func(machine) (string, bool) {
		path, err := exec.LookPath(name)
		return path, err == nil
	}
}

// programsTogether looks for a folder of PATH that holds the first, and asks
// that it hold the others too: parts of two installations do not mix.
func programsTogether(names ...string) func(machine) (string, bool) {
	return func(machine) (string, bool) {
		first, err := exec.LookPath(names[0])
		if err != nil {
			return "", false
		}
		return filepath.Dir(first), holds(filepath.Dir(first), names)
	}
}

var postgresPrograms = []string{"initdb", "pg_ctl", "postgres"}

// postgres looks where Debian puts each major version, newest first, since it
// puts the server's programs into no PATH; and then in PATH for everybody else.
func postgres(m machine) (string, bool) {
	folders, err := filepath.Glob(filepath.Join(m.root, "usr/lib/postgresql/*/bin"))
	if err != nil { // only a malformed pattern; m.root has none
		return "", false
	}
	best, newest := "", -1
	for _, folder := range folders {
		major, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
		if err == nil && major > newest && holds(folder, postgresPrograms) {
			best, newest = folder, major
		}
	}
	if best != "" {
		return best, true
	}
	return programsTogether(postgresPrograms...)(m)
}

// systemd asks as sd_booted(3) does: the folder exists only where systemd is
// process 1, whatever is installed.
func systemd(m machine) (string, bool) {
	if info, err := os.Lstat(filepath.Join(m.root, "run/systemd/system")); err != nil || !info.IsDir() {
		return "", false
	}
	return program("systemctl")(m)
}

// holds tells whether all the programs are in the folder.
func holds(folder string, names []string) bool {
	for _, name := range names {
		if _, err := exec.LookPath(filepath.Join(folder, name)); err != nil {
			return false
		}
	}
	return true
}
