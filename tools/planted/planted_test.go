package planted

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// check is one linter with the flags of .ci/run.
type check struct {
	name string
	argv []string // the package or file to look at is appended
	dir  string   // its planted failure, below testdata/lint
	// bites are what the linter must say about it. That it exits non-zero is not
	// enough: it does so as well when it cannot read the package.
	bites []string
}

var checks = []check{
	{
		"go-check-sumtype in the declaring package",
		[]string{"go", "tool", "go-check-sumtype", "-default-signifies-exhaustive=false"},
		"sumtype",
		[]string{`sum type "Shape"`, "missing cases for Square"},
	},
	{
		"go-check-sumtype in another package",
		[]string{"go", "tool", "go-check-sumtype", "-default-signifies-exhaustive=false"},
		"sumtypeabroad/...",
		[]string{`sum type "Shape"`, "missing cases for Square"},
	},
	{
		"exhaustive",
		[]string{"go", "tool", "exhaustive"},
		"exhaustive",
		[]string{"missing cases in expression switch: Green"},
	},
	{
		"staticcheck",
		[]string{"go", "tool", "staticcheck"},
		"staticcheck",
		[]string{"error parsing regexp", "(SA1000)", "func unused is unused (U1000)"},
	},
	{
		"go vet",
		[]string{"go", "vet"},
		"vet",
		[]string{"Sprintf format %d has arg s of wrong type string"},
	},
	{
		"gofumpt",
		[]string{"go", "tool", "gofumpt", "-l"},
		"gofumpt",
		[]string{"testdata/lint/gofumpt/loose.go"},
	},
}

func TestEveryLinterBitesOnItsPlantedFailure(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			out, code := run(t, c, c.dir)
			if code == 0 && c.name != "gofumpt" { // gofumpt -l lists and exits 0
				t.Errorf("%v accepted its planted failure:\n%s", c.argv, out)
			}
			for _, bite := range c.bites {
				if !strings.Contains(out, bite) {
					t.Errorf("%v should have said %q of its planted failure, but said:\n%s", c.argv, bite, out)
				}
			}
		})
	}
}

func TestNoLinterBitesOnCleanCode(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if out, code := run(t, c, "clean"); code != 0 || out != "" {
				t.Errorf("%v refused clean code (exit %d):\n%s", c.argv, code, out)
			}
		})
	}
}

// The proof is about these flags only, so they must be those that count.
func TestTheFlagsAreThoseOfTheCIRun(t *testing.T) {
	ci, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		command := strings.TrimPrefix(strings.Join(c.argv, " "), "go tool ")
		if !strings.Contains(string(ci), command+" .") {
			t.Errorf(".ci/run does not run %q: keep the two alike", command)
		}
	}
}

// run gives what the check said, on both streams, and how it ended.
func run(t *testing.T, c check, dir string) (string, int) {
	t.Helper()
	argv := append(append([]string{}, c.argv...), "./testdata/lint/"+dir)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v did not run: %v", argv, err)
	}
	return strings.TrimSpace(out.String()), cmd.ProcessState.ExitCode()
}
