package nixfleet_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Lint rules as ordinary tests. Each looks at the parsed source and says, where
// it bites, why it exists. Each has a planted failure below tools/planted which
// proves that it still bites (planted_test.go).

// houseRule is one rule over the whole tree.
type houseRule struct {
	name  string
	check func(*source) []violation
}

var houseRules = []houseRule{
	{"every package says what it is", packageComments},
	{"no package is named for nothing", packageNames},
	{"time comes from the clock", wallClock},
	{"tests do not wait for luck", sleepingTests},
	{"errors are not matched by their text", matchedErrorTexts},
	{"nothing is left to do in code", leftovers},
	{"no shell", shells},
	{"pages referred to exist", pageReferences},
	{"no machine's paths", machinePaths},
}

func TestHouseRulesHold(t *testing.T) {
	src := repository(t)
	for _, rule := range houseRules {
		t.Run(rule.name, func(t *testing.T) { expectNone(t, rule.check(src)) })
	}
}

// packageComments: the comment is the package's manual, and a reader has no other.
func packageComments(src *source) []violation {
	var found []violation
	for _, dir := range src.dirs() {
		hasCode, hasComment := false, false
		for _, f := range src.packages[dir].files {
			hasCode = hasCode || !f.test
			hasComment = hasComment || (!f.test && f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "")
		}
		if hasCode && !hasComment {
			found = append(found, violation{dir, "no package comment: say in doc.go what it is, how to use it, its concurrency and how it is tested"})
		}
	}
	return found
}

// emptyNames say nothing about what is inside, so everything ends up inside.
var emptyNames = []string{"util", "utils", "type", "types", "common", "helper", "helpers", "pkg", "misc", "shared", "base", "lib"}

func packageNames(src *source) []violation {
	var found []violation
	for _, dir := range src.dirs() {
		for _, f := range src.packages[dir].files {
			for _, name := range []string{path.Base(dir), strings.TrimSuffix(f.ast.Name.Name, "_test")} {
				if slices.Contains(emptyNames, name) {
					found = append(found, violation{f.path, "the name " + name + " says nothing: name the package after what it knows"})
				}
			}
		}
	}
	return found
}

// wallClockAllowed are the directories whose code may ask the machine for the
// time, with the reason. Everything else takes a nixfleet/clock.Clock, because
// tests and the simulator advance it.
var wallClockAllowed = map[string]string{
	"cli":                "a person waits: documents are signed, and looked at again, at the machine's time",
	"clock":              "it is the clock",
	"cmd/nixfleet":       "mains make the clock",
	"cmd/nixfleet-agent": "mains make the clock",
	"cmd/nixfleet-cp":    "mains make the clock",
	"demo":               "it drives real processes for a person who watches",
}

var wallClockCalls = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}

func wallClock(src *source) []violation {
	var found []violation
	src.goFiles(func(dir string, f goFile) {
		if f.test || wallClockAllowed[dir] != "" {
			return
		}
		uses(f, "time", wallClockCalls, func(n ast.Node, name string) {
			found = append(found, violation{src.at(n), "time." + name + " is the wall clock: take the time from the injected nixfleet/clock, or the simulator cannot run this code (exceptions go to wallClockAllowed in house_test.go)"})
		})
	})
	return found
}

// sleepingTests: a sleep is a guess about the scheduler, and Eventually is many.
// Inside a function given to synctest.Test a sleep moves the bubble's own clock
// and waits for nothing, so there it may stand.
func sleepingTests(src *source) []violation {
	const why = ": a test that waits for luck fails by bad luck; use a testing/synctest bubble or the manual clock"
	var found []violation
	src.goFiles(func(_ string, f goFile) {
		if !f.test {
			return
		}
		bubbles := bubblesIn(f)
		uses(f, "time", []string{"Sleep"}, func(n ast.Node, name string) {
			if !slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= n.Pos() && n.End() <= b.End() }) {
				found = append(found, violation{src.at(n), "time." + name + why})
			}
		})
		calls(f, func(call *ast.CallExpr, name string) {
			if strings.HasPrefix(name, "Eventually") {
				found = append(found, violation{src.at(call), name + why})
			}
		})
	})
	return found
}

// bubblesIn gives the function literals that run inside a synctest bubble.
func bubblesIn(f goFile) []ast.Node {
	var bubbles []ast.Node
	synctest := localName(f, "testing/synctest")
	calls(f, func(call *ast.CallExpr, name string) {
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || name != "Test" {
			return
		}
		if id, ok := sel.X.(*ast.Ident); ok && synctest != "" && id.Name == synctest {
			bubbles = append(bubbles, call)
		}
	})
	return bubbles
}

// matchedErrorTexts: texts are for people and change; programs ask errors.Is and errors.As.
func matchedErrorTexts(src *source) []violation {
	const why = "an error is told by errors.Is or errors.As, never by its text, which is for people and changes"
	var found []violation
	src.goFiles(func(_ string, f goFile) {
		// Only the text that is searched counts. Looking for an error's text in
		// what an operator reads is a test of that text, and fine.
		uses(f, "strings", []string{"Contains", "HasPrefix", "HasSuffix", "EqualFold", "Index", "Count", "Cut"}, func(n ast.Node, _ string) {
			if call := callOf(f, n); call != nil && len(call.Args) > 0 && isErrorText(call.Args[0]) {
				found = append(found, violation{src.at(n), why})
			}
		})
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) && (isErrorText(b.X) || isErrorText(b.Y)) {
				found = append(found, violation{src.at(n), why})
			}
			return true
		})
	})
	return found
}

// isErrorText tells x.Error().
func isErrorText(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 0 {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Error"
}

// leftover words are spelled in two parts, or this file would break its own rule.
var leftover = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b|not ` + `implemented`)

// codeSuffixes are the files in which a leftover is an unkept promise; prose may speak of them.
var codeSuffixes = []string{".go", ".sh", ".sql", ".nix", ".html", ".css", ".js", ".service", ".toml", "/run"}

func leftovers(src *source) []violation {
	return grep(src, leftover, func(p string) bool {
		return slices.ContainsFunc(codeSuffixes, func(suffix string) bool { return strings.HasSuffix(p, suffix) })
	}, "is a promise nobody keeps: do it now, or file it where work is planned")
}

// shellNames are the programs that turn a string into commands.
var shellNames = []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"}

// shells: a string that a shell parses is an injection waiting for its input.
// Programs are started by argument list.
func shells(src *source) []violation {
	var found []violation
	report := func(n ast.Node, args []ast.Expr, first bool) {
		for i, arg := range args {
			isShell := slices.Contains(shellNames, path.Base(literal(arg)))
			beforeC := i+1 < len(args) && strings.HasPrefix(literal(args[i+1]), "-") && strings.HasSuffix(literal(args[i+1]), "c")
			if isShell && (first || beforeC) {
				found = append(found, violation{src.at(n), "runs a shell: start the program itself with an argument list, so that no string is ever parsed as commands"})
				return
			}
		}
	}
	src.goFiles(func(_ string, f goFile) {
		for _, name := range []string{"Command", "CommandContext"} {
			uses(f, "os/exec", []string{name}, func(n ast.Node, _ string) {
				if call := callOf(f, n); call != nil {
					report(n, call.Args[:min(2, len(call.Args))], true)
				}
			})
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok {
				report(n, lit.Elts, false)
			}
			return true
		})
	})
	return found
}

var pageReference = regexp.MustCompile(`docs/(?:design|adr)/[0-9]+-[a-z0-9-]+(?:\.md)?`)

// pageReferences: a comment that names a page is the only way from code to design.
func pageReferences(src *source) []violation {
	var found []violation
	for _, f := range src.texts {
		for _, page := range pageReference.FindAllString(f.text, -1) {
			if _, err := fs.Stat(src.fsys, path.Dir(page)); errors.Is(err, fs.ErrNotExist) {
				continue // the folder itself is not part of this tree
			}
			file := strings.TrimSuffix(page, ".md") + ".md"
			if _, err := fs.Stat(src.fsys, file); err != nil {
				found = append(found, violation{f.path, "refers to " + page + ", which does not exist: name a page that does"})
			}
		}
	}
	return found
}

// machinePath is a path that exists on one person's machine: a home, a
// checkout, a scratch folder. In two parts each, for the reason given at leftover.
var machinePath = regexp.MustCompile(`(?:^|[^A-Za-z0-9_./$}\-])(?:/wo` + `rk/|/ro` + `ot/|/home/[a-z]|/Us` + `ers/|/tmp/br` + `ief|/tmp/ba` + `sh_jobs)`)

func machinePaths(src *source) []violation {
	return grep(src, machinePath, func(string) bool { return true },
		"is a path on somebody's machine: the project must read the same everywhere")
}

// grep finds a pattern line by line in the texts that pick names.
func grep(src *source, pattern *regexp.Regexp, pick func(path string) bool, why string) []violation {
	var found []violation
	for _, f := range src.texts {
		if !pick(f.path) {
			continue
		}
		number := 0
		for line := range strings.Lines(f.text) {
			number++
			if hit := pattern.FindString(line); hit != "" {
				found = append(found, violation{fmt.Sprintf("%s:%d", f.path, number), strconv.Quote(strings.TrimSpace(hit)) + " " + why})
			}
		}
	}
	return found
}
