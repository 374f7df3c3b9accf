package nixfleet_test

import (
	"fmt"
	"go/ast"
	"os"
	"slices"
	"strings"
	"testing"
)

// This file is the map of the module: who may import whom, and why. It compares
// direct imports, so an arrow that is not drawn here does not exist. The
// picture it draws is the one of docs/design/01-system.md:
//
//	cmd -> agent | controlplane | simulate | demo | release
//	    -> host, rollout, fleet, wire, strictjson, trust, journal, clock
//
// To add a package: give it an entry in arrows. To add an import within the
// module: give the importing package's entry one more arrow, with the reason.
// An arrow nobody uses any more fails too, so the map stays the truth.

// arrow is one permitted direct import within the module.
type arrow struct{ to, why string }

// kind says which rules of the whole package apply beside its arrows.
type kind int

const (
	runtime kind = iota // anything with I/O or goroutines in it
	pure                // no I/O, no goroutines, no wall clock: value packages only
	stdOnly             // I/O, but nothing beyond the standard library
)

// box is one package on the map.
type box struct {
	kind   kind
	why    string // what it is, in one breath
	arrows []arrow
}

// arrows is the map, by directory.
var arrows = map[string]box{
	".": {why: "the rules of the house; no code"},

	// Pure: the decisions. Agent, control plane, simulator and replay all run these.
	"strictjson": {kind: pure, why: "JSON in, refused unless it is exactly right"},
	"host":       {kind: pure, why: "one host in one rollout"},
	"fleet": {kind: pure, why: "the signed documents and what follows from them", arrows: []arrow{
		{"host", "a document's policy is the one that Step takes"},
		{"strictjson", "a signed document is read without forgiving too"},
	}},
	"rollout": {kind: pure, why: "one rollout, the planner and its gates"},
	"wire": {kind: pure, why: "messages between the two sides", arrows: []arrow{
		{"host", "it encodes the events and records of host, and decodes to them"},
		{"strictjson", "what comes from outside is read without forgiving"},
	}},

	// Foundations with I/O, known to both sides and knowing neither.
	"journal": {kind: stdOnly, why: "the durable log; bytes only, so that it can be trusted alone"},
	"journal/journaltest": {why: "faulty disks for the journal's users to test on", arrows: []arrow{
		{"journal", "it implements the journal's file system"},
	}},
	"clock": {why: "the only way to the time"},
	"trust": {why: "signatures, keys and tokens"},

	// The two sides. Neither knows the other: they meet over the wire only.
	"agent": {why: "the host runtime"},
	"agent/activation": {why: "switching a host", arrows: []arrow{
		{"clock", "a switch is polled and timed out"},
	}},
	"agent/probe": {why: "asking whether it is healthy", arrows: []arrow{
		{"clock", "probes have intervals and time limits"},
		{"host", "results are the events' own modes and statuses"},
		{"strictjson", "a declaration that is not exactly right must fail the gate, not weaken it"},
	}},
	"agent/config": {why: "the agent's settings"},
	"controlplane": {why: "the control-plane runtime"},
	"controlplane/ledger": {why: "the event log's rows and their hash chain", arrows: []arrow{
		{"strictjson", "a row that is read back must be exactly what was hashed"},
	}},
	"controlplane/core": {why: "the control plane's decisions without its I/O"},
	"controlplane/store": {why: "the control plane's database", arrows: []arrow{
		{"controlplane/ledger", "it stores ledger rows, and chains them as it commits"},
	}},
	"controlplane/api": {why: "the control plane's HTTP side"},
	"controlplane/web": {why: "the dashboard"},

	// Where the two sides meet in one process.
	"release":  {why: "making and signing releases"},
	"simulate": {why: "both cores under one seeded scheduler"},
	"demo":     {why: "both sides on one bare machine"},

	// Mains: flags, configuration, run.
	"cmd/nixfleet":       {why: "the operator's tool"},
	"cmd/nixfleet-agent": {why: "the agent's main"},
	"cmd/nixfleet-cp":    {why: "the control plane's main"},

	"internal/testreq": {kind: stdOnly, why: "what a test needs of the machine"},
}

// valuePackages is all of the standard library that a pure package may import:
// packages that compute values and touch nothing outside. A package belongs
// here only if no function in it that we would call reads or writes anything
// beyond its arguments.
var valuePackages = []string{
	"bytes", "cmp", "crypto/sha256", "encoding", "encoding/base64", "encoding/binary",
	"encoding/hex", "encoding/json", "errors", "fmt", "hash", "io", "iter", "maps", "math",
	"math/big", "math/bits", "regexp", "slices", "sort", "strconv", "strings", "time",
	"unicode", "unicode/utf16", "unicode/utf8",
}

// impureCalls are the doors that the packages above leave open.
var impureCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep", "LoadLocation", "Local"},
	"fmt":  {"Print", "Println", "Printf", "Scan", "Scanln", "Scanf"}, // standard output and input
}

// strangers may never import each other, tests included: the two sides share
// the pure packages and nothing else, which is what makes the control plane
// unable to do more to a host than the wire says. A test that needs both
// belongs to simulate, demo or internal.
var strangers = [2]string{"agent", "controlplane"}

func TestImportsFollowTheArrows(t *testing.T) {
	expectNone(t, arrowViolations(repository(t), arrows))
}

func TestPurePackagesImportNoIO(t *testing.T) {
	expectNone(t, pureViolations(repository(t), arrows))
}

func TestAgentAndControlPlaneNeverImportEachOther(t *testing.T) {
	expectNone(t, strangerViolations(repository(t)))
}

// repository is this module's own tree. Go runs a test in its package's
// directory, and for this package that is the root.
func repository(t *testing.T) *source {
	t.Helper()
	return loadSource(t, os.DirFS("."))
}

func expectNone(t *testing.T, found []violation) {
	t.Helper()
	for _, v := range found {
		t.Error(v)
	}
}

// arrowViolations compares the direct imports of every package's code with the
// map. Test files may import what they like (but see strangers): a harness
// stands outside the picture.
func arrowViolations(src *source, arrows map[string]box) []violation {
	var found []violation
	for _, dir := range src.dirs() {
		b, known := arrows[dir]
		if !known {
			found = append(found, violation{dir, "this package is not on the map: add it to arrows in arch_test.go, saying what it is and what it may import"})
			continue
		}
		used := map[string]bool{}
		src.imports(dir, codeOnly, func(f goFile, imported string) {
			to, own := dirOf(imported)
			used[to] = used[to] || own
			switch {
			case own && !b.mayImport(to):
				found = append(found, violation{f.path, fmt.Sprintf("%s may not import %s: if it should, add {%q, \"why\"} to the arrows of %q in arch_test.go", dir, to, to, dir)})
			case b.kind == stdOnly && !own && !isStd(imported):
				found = append(found, violation{f.path, fmt.Sprintf("%s imports the standard library only, and so not %s (%s)", dir, imported, b.why)})
			}
		})
		found = append(found, staleArrows(dir, b, used)...)
	}
	return found
}

func staleArrows(dir string, b box, used map[string]bool) []violation {
	var found []violation
	for _, a := range b.arrows {
		if a.why == "" {
			found = append(found, violation{dir, "the arrow to " + a.to + " in arch_test.go has no reason"})
		}
		if !used[a.to] {
			found = append(found, violation{dir, "the arrow to " + a.to + " in arch_test.go is used no more: delete it"})
		}
	}
	return found
}

func (b box) mayImport(dir string) bool {
	return slices.ContainsFunc(b.arrows, func(a arrow) bool { return a.to == dir })
}

// pureViolations holds the pure packages to invariant 3: only value packages,
// nothing impure however far down the graph, no goroutine, no wall clock.
func pureViolations(src *source, arrows map[string]box) []violation {
	var found []violation
	for _, dir := range src.dirs() {
		if arrows[dir].kind != pure {
			continue
		}
		for _, f := range src.packages[dir].files {
			if !f.test {
				found = append(found, pureFile(src, dir, f)...)
			}
		}
		for _, chain := range reachable(src, dir) {
			if last := chain[len(chain)-1]; arrows[last].kind != pure {
				found = append(found, violation{dir, "a pure package reaches " + last + ", which is not pure: " + strings.Join(chain, " -> ")})
			}
		}
	}
	return found
}

func pureFile(src *source, dir string, f goFile) []violation {
	var found []violation
	for _, imported := range importsOf(f) {
		if _, own := dirOf(imported); !own && !slices.Contains(valuePackages, imported) {
			found = append(found, violation{f.path, fmt.Sprintf("%s is pure and may not import %s: it is not one of valuePackages in arch_test.go; do the I/O outside and pass the value in", dir, imported)})
		}
	}
	for pkg, names := range impureCalls {
		uses(f, pkg, names, func(n ast.Node, name string) {
			found = append(found, violation{src.at(n), fmt.Sprintf("%s is pure and may not use %s.%s: time comes in as an argument, output goes out as a value", dir, pkg, name)})
		})
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if _, ok := n.(*ast.GoStmt); ok {
			found = append(found, violation{src.at(n), dir + " is pure and starts no goroutine: the loop that calls it is the only mutator"})
		}
		return true
	})
	return found
}

// reachable gives every package that dir's code reaches within the module, each
// as the chain of imports that leads there.
func reachable(src *source, dir string) [][]string {
	seen := map[string]bool{dir: true}
	var chains [][]string
	for queue := [][]string{{dir}}; len(queue) > 0; queue = queue[1:] {
		chain := queue[0]
		src.imports(chain[len(chain)-1], codeOnly, func(_ goFile, imported string) {
			if to, own := dirOf(imported); own && !seen[to] {
				seen[to] = true
				next := append(slices.Clone(chain), to)
				chains, queue = append(chains, next), append(queue, next)
			}
		})
	}
	return chains
}

// strangerViolations looks at every file of either side, tests included, and at
// everything their code reaches.
func strangerViolations(src *source) []violation {
	const why = "agent and controlplane share the pure packages and the wire, nothing else; a test that needs both belongs to simulate, demo or internal"
	var found []violation
	for _, dir := range src.dirs() {
		for i, side := range strangers {
			other := strangers[1-i]
			if !within(dir, side) {
				continue
			}
			src.imports(dir, codeAndTests, func(f goFile, imported string) {
				if to, own := dirOf(imported); own && within(to, other) {
					found = append(found, violation{f.path, fmt.Sprintf("%s imports %s: %s", dir, to, why)})
				}
			})
			for _, chain := range reachable(src, dir) {
				if len(chain) > 2 && within(chain[len(chain)-1], other) {
					found = append(found, violation{dir, strings.Join(chain, " -> ") + ": " + why})
				}
			}
		}
	}
	return found
}

// within tells whether dir is root or below it.
func within(dir, root string) bool {
	return dir == root || strings.HasPrefix(dir, root+"/")
}
