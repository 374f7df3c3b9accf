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
	"rollout": {kind: pure, why: "one rollout, the planner and its gates", arrows: []arrow{
		{"fleet", "waves, edges and budgets are the signed documents'"},
		{"host", "what a rollout does follows from its hosts' records"},
	}},
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
	"trust": {why: "signatures, keys and tokens", arrows: []arrow{
		{"fleet", "what is verified is one of the signed documents"},
		{"strictjson", "trust files and tokens come from outside"},
	}},
	"trust/pki": {why: "certificates, their roots, and private keys on the disk", arrows: []arrow{
		{"fleet", "a certificate's name is a host's"},
	}},
	"keydir": {why: "the folder of keys an organisation starts with", arrows: []arrow{
		{"trust", "it writes the trust file"},
		{"trust/pki", "it makes keys and certificates"},
	}},
	"operator": {why: "the operator API: its shapes, and a client", arrows: []arrow{
		{"trust/pki", "it reads the operator's certificate and roots"},
		{"wire", "the protocol header is the same everywhere"},
	}},

	// The two sides. Neither knows the other: they meet over the wire only.
	"agent": {why: "the host runtime", arrows: []arrow{
		{"agent/activation", "it hands intents to the backend"},
		{"agent/client", "it calls the control plane"},
		{"agent/config", "its settings"},
		{"agent/core", "the decisions that it makes durable and carries out"},
		{"agent/probe", "it runs the probes"},
		{"clock", "all its time"},
		{"fleet", "tickets and their bounds"},
		{"host", "events that workers see, effects to carry out"},
		{"journal", "its only durable state"},
		{"trust", "tickets are verified, events signed"},
		{"wire", "what it says to the control plane"},
	}},
	"agent/client": {why: "one HTTP client with the bounds of the protocol", arrows: []arrow{
		{"wire", "headers and limits"},
	}},
	"agent/core": {why: "the agent's decisions without its I/O", arrows: []arrow{
		{"clock", "readings come with each input"},
		{"fleet", "what a ticket says"},
		{"host", "Step"},
		{"strictjson", "frames are read back as strictly as messages"},
		{"trust", "it takes verified tickets only"},
		{"wire", "events and records in frames are those of the wire"},
	}},
	"agent/activation": {why: "switching a host", arrows: []arrow{
		{"clock", "a switch is polled and timed out"},
	}},
	"agent/probe": {why: "asking whether it is healthy", arrows: []arrow{
		{"clock", "probes have intervals and time limits"},
		{"host", "results are the events' own modes and statuses"},
		{"strictjson", "a declaration that is not exactly right must fail the gate, not weaken it"},
	}},
	"agent/config": {why: "the agent's settings", arrows: []arrow{
		{"clock", "check reads the clock and the boot id"},
	}},
	"controlplane": {why: "the control-plane runtime", arrows: []arrow{
		{"clock", "all its time"},
		{"controlplane/api", "it serves it"},
		{"controlplane/core", "the decisions that it makes durable"},
		{"controlplane/ledger", "rows and heads"},
		{"controlplane/source", "signed documents"},
		{"controlplane/store", "where commits go"},
		{"fleet", "revocations in force"},
		{"host", "transitions that it counts"},
		{"release", "a document as source has it: its bytes and their signature"},
		{"rollout", "the planner's settings"},
		{"trust", "whose signatures count"},
		{"trust/pki", "its certificate and the roots of its clients"},
	}},
	"controlplane/config": {why: "the control plane's settings", arrows: []arrow{
		{"controlplane", "it fills its Config"},
		{"rollout", "planner times are settings"},
	}},
	"controlplane/source": {why: "signed documents from where they are published", arrows: []arrow{
		{"controlplane/core", "it gives the documents the core plans with"},
		{"fleet", "ids and documents"},
		{"release", "the published layout is read by the code that writes it"},
		{"trust", "nothing comes out that was not verified"},
	}},
	"controlplane/ledger": {why: "the event log's rows and their hash chain", arrows: []arrow{
		{"strictjson", "a row that is read back must be exactly what was hashed"},
	}},
	"controlplane/core": {why: "the control plane's decisions without its I/O", arrows: []arrow{
		{"controlplane/ledger", "a commit is rows and views"},
		{"fleet", "what documents say"},
		{"host", "the mirror runs the same Step"},
		{"rollout", "the planner"},
		{"strictjson", "payloads are read back as strictly as messages"},
		{"trust", "it takes verified documents only"},
		{"wire", "what agents send"},
	}},
	"controlplane/store": {why: "the control plane's database", arrows: []arrow{
		{"controlplane/ledger", "it stores ledger rows, and chains them as it commits"},
	}},
	"controlplane/api": {why: "the control plane's HTTP side", arrows: []arrow{
		{"clock", "certificates expire"},
		{"controlplane/core", "requests are its inputs"},
		{"controlplane/ledger", "a trace is rows"},
		{"fleet", "names and bounds"},
		{"operator", "the shapes of the operator API"},
		{"strictjson", "bodies come from outside"},
		{"trust", "host signatures are checked before the reducer"},
		{"trust/pki", "the role is the root"},
		{"wire", "what agents send and get"},
	}},
	"controlplane/web": {why: "the dashboard"},

	// Where the two sides meet in one process.
	"release": {why: "making and signing releases", arrows: []arrow{
		{"fleet", "it resolves and builds documents"},
		{"strictjson", "the fleet file comes from outside"},
		{"trust", "it signs, and verifies what it refreshes"},
	}},
	"replay": {why: "a recorded log through Step again", arrows: []arrow{
		{"agent/core", "frames are read by the code that wrote them"},
		{"host", "Step"},
		{"journal", "an agent's log"},
		{"strictjson", "JSON lines come from outside"},
		{"wire", "events, records and effects as JSON"},
	}},
	"simulate": {why: "both cores under one seeded scheduler"},
	"demo": {why: "both sides on one bare machine", arrows: []arrow{
		{"agent", "hosts"},
		{"agent/activation", "releases are trees of the directory backend"},
		{"agent/config", "hosts are configured as real ones are"},
		{"agent/core", "the audit reads journals"},
		{"clock", "the machine's clock, for both sides"},
		{"controlplane", "the router"},
		{"fleet", "rollout ids"},
		{"host", "states and events it tells of"},
		{"replay", "the audit reads journals as replay does"},
		{"keydir", "the organisation's keys"},
		{"operator", "it watches as an operator would"},
		{"release", "it releases as an operator would"},
		{"rollout", "the planner's settings, shortened"},
		{"trust", "host keys, and the canonical form for the audit"},
		{"trust/pki", "host certificates"},
		{"wire", "events as the log has them"},
	}},
	"cli": {why: "the operator's commands", arrows: []arrow{
		{"demo", "a command"},
		{"fleet", "rollout ids"},
		{"keydir", "the folder of keys"},
		{"operator", "it asks the control plane"},
		{"release", "a command"},
		{"replay", "a command"},
		{"trust", "trust files and host keys"},
		{"trust/pki", "keys and requests"},
		{"wire", "the bound of a document, records as JSON"},
	}},

	// Mains: flags, configuration, run.
	"cmd/nixfleet": {why: "the operator's tool", arrows: []arrow{
		{"cli", "its commands"},
		{"demo", "the roles in which the demo starts it again"},
	}},
	"cmd/nixfleet-agent": {why: "the agent's main", arrows: []arrow{
		{"agent", "it runs it"},
		{"agent/activation", "it opens the backend, and is the switch helper"},
		{"agent/config", "settings"},
		{"agent/probe", "check reads the declarations"},
		{"clock", "the machine's"},
		{"trust", "check reads keys"},
	}},
	"cmd/nixfleet-cp": {why: "the control plane's main", arrows: []arrow{
		{"clock", "the machine's"},
		{"controlplane", "it runs it"},
		{"controlplane/config", "settings"},
		{"controlplane/core", "views are rebuilt by the code that made them"},
		{"controlplane/ledger", "an export is rows"},
		{"controlplane/store", "export and rebuild open it"},
	}},

	"acceptance": {why: "sentences of the documentation, proved on real parts; tests only"},
	"internal/fleettest": {why: "a whole site of real parts for tests", arrows: []arrow{
		{"agent", "hosts"},
		{"agent/activation", "closures are trees of the directory backend"},
		{"agent/config", "hosts are configured as real ones are"},
		{"agent/core", "journals are read by the code that wrote them"},
		{"clock", "the machine's clock, for both sides"},
		{"controlplane", "the router"},
		{"controlplane/ledger", "the log is rows"},
		{"controlplane/store", "the log is looked at after the router ended"},
		{"host", "records of both sides are compared"},
		{"replay", "journals are read as replay does"},
		{"keydir", "the organisation's keys"},
		{"operator", "it asks as an operator would"},
		{"release", "it releases as an operator would"},
		{"rollout", "the planner's settings, shortened"},
		{"strictjson", "rows are read without forgiving"},
		{"trust", "trust files and host keys"},
		{"trust/pki", "host certificates"},
		{"wire", "events as the log has them"},
	}},
	"internal/pipenet": {kind: stdOnly, why: "HTTP inside a synctest bubble"},
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
