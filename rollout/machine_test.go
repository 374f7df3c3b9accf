package rollout

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// table is that of docs/design/07-control-plane.md: what each event leads to, by state. What is not here is refused.
var table = map[string]map[State]State{
	"RolloutOpened":     {Unopened: Opening},
	"HostJoined":        {Opening: Active, Converging: Active},
	"WaveDone":          {Active: Converging},
	"WaveAdvanced":      {Converging: Active},
	"AllConverged":      {Active: Terminal, Converging: Terminal},
	"HostReverted":      {Opening: Reverted, Active: Reverted, Converging: Reverted},
	"HostFailed":        {Opening: Failed, Active: Failed, Converging: Failed},
	"OperatorClearance": {Opening: Active, Active: Active, Converging: Converging, Terminal: Terminal, Failed: Active, Reverted: Active, Superseded: Superseded},
	"SuccessorOpened": {
		Opening: Superseded, Active: Superseded, Converging: Superseded, Terminal: Superseded, Failed: Superseded, Reverted: Superseded,
		Superseded: Superseded,
	},
	"RetentionExpired": {Terminal: Pruned, Superseded: Pruned, Failed: Pruned, Reverted: Pruned},
}

// plausible fills in what the event needs to pass the invariants in wave 0 of 2.
func plausible(e Event) Event {
	switch e.(type) {
	case RolloutOpened:
		return RolloutOpened{ID: "stable@r1", Channel: "stable", Waves: 2, At: start}
	case HostJoined:
		return HostJoined{Host: "a", At: start}
	case WaveDone:
		return WaveDone{At: start}
	case WaveAdvanced:
		return WaveAdvanced{To: 1, At: start}
	case AllConverged:
		return AllConverged{At: start}
	case HostReverted:
		return HostReverted{Host: "a", At: start}
	case HostFailed:
		return HostFailed{Host: "a", At: start}
	case OperatorClearance:
		return OperatorClearance{Hosts: []string{"a"}, WaiveWave: true, At: start}
	case SuccessorOpened:
		return SuccessorOpened{Successor: "stable@r2", At: start}
	case RetentionExpired:
		return RetentionExpired{At: start}
	}
	return e
}

func TestEveryEventInEveryStateDoesWhatTheTableSays(t *testing.T) {
	for _, e := range AllEvents {
		name := strings.TrimPrefix(fmt.Sprintf("%T", e), "rollout.")
		row, ok := table[name]
		if !ok {
			t.Fatalf("%s has no row", name)
		}
		for _, from := range States {
			rec := Record{ID: "stable@r1", Channel: "stable", State: from, Waves: 2}
			next, effects, err := Step(rec, plausible(e), start)
			want, legal := row[from]
			if !legal {
				if !errors.Is(err, ErrIllegal) || next != rec || len(effects) != 0 {
					t.Errorf("%s in %s: %v, %v, %v; want illegal and nothing else", name, from, next, effects, err)
				}
				continue
			}
			if err != nil || next.State != want {
				t.Errorf("%s in %s: %s, %v; want %s", name, from, next.State, err, want)
			}
			transitions := 0
			for _, x := range effects {
				if tr, ok := x.(RolloutTransition); ok {
					transitions++
					if tr.From != from || tr.To != want || tr.At != start {
						t.Errorf("%s in %s: transition %+v", name, from, tr)
					}
				}
			}
			if (transitions == 1) != (from != want) {
				t.Errorf("%s in %s: %d transitions", name, from, transitions)
			}
		}
	}
}

func TestTheZeroEventChangesNothingItShouldNot(t *testing.T) {
	for _, e := range AllEvents {
		for _, from := range States {
			rec := Record{State: from}
			next, _, err := Step(rec, e, start)
			if err != nil && next != rec {
				t.Errorf("%T in %s: refused and changed to %+v", e, from, next)
			}
		}
	}
	if _, _, err := Step(Record{}, nil, start); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("no event: %v", err)
	}
}

func TestTheListsHoldEveryTypeWithTheMarker(t *testing.T) {
	marked := map[string][]string{}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !strings.HasPrefix(fn.Name.Name, "is") {
				continue
			}
			if id, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
				marked[fn.Name.Name] = append(marked[fn.Name.Name], id.Name)
			}
		}
	}
	check := func(marker string, values []string) {
		slices.Sort(values)
		slices.Sort(marked[marker])
		if !slices.Equal(values, marked[marker]) {
			t.Errorf("%s: listed %v, marked %v", marker, values, marked[marker])
		}
	}
	check("isEvent", typeNames(AllEvents))
	check("isEffect", typeNames(AllEffects))
	check("isAction", typeNames(AllActions))
}

func typeNames[T any](values []T) []string {
	var names []string
	for _, v := range values {
		names = append(names, strings.TrimPrefix(fmt.Sprintf("%T", v), "rollout."))
	}
	return names
}

func TestStatesGatesAndOwnersHaveNames(t *testing.T) {
	for _, s := range States {
		if back, err := ParseState(s.String()); err != nil || back != s {
			t.Errorf("%s: %v %v", s, back, err)
		}
	}
	if _, err := ParseState("Sleeping"); err == nil {
		t.Error("an unknown state is read")
	}
	seen := map[string]bool{}
	for _, g := range Gates() {
		if seen[g.String()] || g.String() == "" {
			t.Errorf("gate %d is called %q", g, g)
		}
		seen[g.String()] = true
	}
	if int(NewRef)+1 != len(Gates()) {
		t.Errorf("%d gates, the last is %d", len(Gates()), NewRef)
	}
	for _, unknown := range []fmt.Stringer{State(99), Gate(99), Owner(99)} {
		if !strings.Contains(unknown.String(), "99") {
			t.Errorf("%v", unknown)
		}
	}
}
