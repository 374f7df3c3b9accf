package nixfleet_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// SQLite in Go is C translated against one exact version of its libc. Another
// version compiles, and may then corrupt memory: hence not "at least" but "equal".
func TestLibcIsExactlyTheOneThatSQLiteWasTranslatedAgainst(t *testing.T) {
	const sqlite, libc = "modernc.org/sqlite", "modernc.org/libc"
	ours := listModule(t, libc)
	theirs, err := os.ReadFile(listModule(t, sqlite).GoMod)
	if err != nil {
		t.Fatalf("cannot read the go.mod of %s, so nothing is proved; run 'go mod download' first: %v", sqlite, err)
	}
	match := regexp.MustCompile(`(?m)^\s*(?:require\s+)?` + regexp.QuoteMeta(libc) + `\s+(v\S+)`).FindSubmatch(theirs)
	if match == nil {
		t.Fatalf("the go.mod of %s no longer requires %s: look at how it is translated now, and drop or change this rule", sqlite, libc)
	}
	if want := string(match[1]); ours.Version != want {
		t.Errorf("go.mod resolves %s to %s, but %s was translated against %s: run 'go get %s@%s'", libc, ours.Version, sqlite, want, libc, want)
	}
}

// module is what `go list -m -json` says of a module, as far as it is read here.
type module struct{ Version, GoMod string }

func listModule(t *testing.T, name string) module {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-json", name)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -m %s: %v\n%s", name, err, stderr.Bytes())
	}
	var m module
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("go list -m %s: %v", name, err)
	}
	if m.GoMod == "" {
		t.Fatalf("the module cache has no go.mod of %s %s; run 'go mod download' first", name, m.Version)
	}
	return m
}
