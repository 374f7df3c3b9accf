package host_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/host"
)

// markedTypes gives the names of the types in this package's source that carry the marker method.
func markedTypes(t *testing.T, marker string) []string {
	t.Helper()
	var names []string
	for _, file := range []string{"event.go", "effect.go", "record.go", "step.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != marker {
				continue
			}
			if recv, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
				names = append(names, recv.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func typeNames[T any](list []T) []string {
	var names []string
	for _, v := range list {
		names = append(names, reflect.TypeOf(v).Name())
	}
	slices.Sort(names)
	return names
}

func TestAllEventsAreTheMarkedTypes(t *testing.T) {
	if got, want := typeNames(host.AllEvents), markedTypes(t, "isEvent"); !slices.Equal(got, want) {
		t.Errorf("AllEvents holds %v, the source marks %v", got, want)
	}
}

func TestAllEffectsAreTheMarkedTypes(t *testing.T) {
	if got, want := typeNames(host.AllEffects), markedTypes(t, "isEffect"); !slices.Equal(got, want) {
		t.Errorf("AllEffects holds %v, the source marks %v", got, want)
	}
}

// fullRecord has every field set, so that what is forgotten shows.
func fullRecord(t *testing.T) host.Record {
	t.Helper()
	var r host.Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = v.Type().Field(i).Name
		case *time.Time:
			*f = t0.Add(time.Duration(i) * time.Second)
		case *uint32:
			*f = uint32(i)
		case *uint64:
			*f = uint64(i)
		case *host.State:
			*f = host.Soaking
		case *host.OnFailure:
			*f = host.Halt
		case *[]host.Declaration:
			*f = []host.Declaration{{Name: "a"}}
		case *[]*host.Probe:
			*f = []*host.Probe{{Name: "a", LastObservedAt: t0, LastPassAt: t0, FailureReason: "r"}}
		default:
			t.Fatalf("field %s has a type this test does not know: %T", v.Type().Field(i).Name, f)
		}
	}
	return r
}

func TestEqualSeesEveryField(t *testing.T) {
	full := fullRecord(t)
	if same := deepCopy(full); !full.Equal(&same) {
		t.Fatal("a record does not equal its copy")
	}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		changed := deepCopy(full)
		reflect.ValueOf(&changed).Elem().Field(i).SetZero()
		if full.Equal(&changed) || changed.Equal(&full) {
			t.Errorf("Equal does not see %s", v.Type().Field(i).Name)
		}
	}
	for i := range reflect.TypeFor[host.Probe]().NumField() {
		changed := deepCopy(full)
		probe := reflect.ValueOf(changed.Probes[0]).Elem().Field(i)
		if probe.IsZero() {
			probe.SetUint(1)
		} else {
			probe.SetZero()
		}
		if full.Equal(&changed) {
			t.Errorf("Equal does not see field %d of a probe", i)
		}
	}
}

// expected is what each event gives in each state: "" accepted, else the class of the refusal. The events are those of
// cast_test.go; the records those of inState.
var expected = []struct {
	event    host.Event
	accepted []host.State
}{
	{activate, []host.State{host.Pending}},
	{started, []host.State{host.Activating}},
	{completed, []host.State{host.Activating, host.Deferred}},
	{deferred, []host.State{host.Activating}},
	{failed, []host.State{host.Activating, host.Deferred}},
	{topology, []host.State{host.Soaking}},
	{first, []host.State{host.Soaking}},
	{passes, []host.State{host.Soaking}},
	{failFirst, []host.State{host.Soaking}},
	{sustained, []host.State{host.Soaking}},
	{reverted, []host.State{host.Failed}},
	{notBack, []host.State{host.Failed}},
	{converged, []host.State{host.Soaking}},
}

func TestEveryEventInEveryState(t *testing.T) {
	var covered []string
	for _, row := range expected {
		covered = append(covered, reflect.TypeOf(row.event).Name())
		for _, state := range host.States {
			for _, origin := range []host.Origin{host.Local, host.Remote} {
				want := host.ErrIllegal.Error()
				if slices.Contains(row.accepted, state) {
					want = ""
				}
				r := inState(t, state)
				next, effects, err := host.Step(r, host.Stamped{Origin: origin, Seq: r.LastEventSeq + 1, Event: row.event}, t0, policy())
				if got := class(err); got != want {
					t.Errorf("%T in %s: class %q, want %q", row.event, state, got, want)
				}
				if err != nil && (!next.Equal(&r) || effects.Len() != 0) {
					t.Errorf("%T in %s: refused, but the record or the effects changed", row.event, state)
				}
				if err == nil && next.LastEventSeq != r.LastEventSeq+1 {
					t.Errorf("%T in %s: accepted, but lastEventSeq is %d", row.event, state, next.LastEventSeq)
				}
			}
		}
	}
	slices.Sort(covered)
	if all := typeNames(host.AllEvents); !slices.Equal(covered, all) {
		t.Errorf("the table covers %v, there are %v", covered, all)
	}
}

func TestASupersededRecordRefusesEverythingAsIllegal(t *testing.T) {
	for _, row := range expected {
		for _, state := range host.States {
			r := inState(t, state)
			r.SupersededBy = "edge@def"
			_, _, err := host.Step(r, host.Stamped{Seq: r.LastEventSeq + 1, Event: row.event}, t0, policy())
			if !errors.Is(err, host.ErrIllegal) {
				t.Errorf("%T in %s: %v", row.event, state, err)
			}
		}
	}
}

func TestAnOldSeqIsRefusedBeforeAnythingElseIsLookedAt(t *testing.T) {
	for _, row := range expected {
		for _, state := range host.States {
			r := inState(t, state)
			r.SupersededBy = "edge@def" // which would be illegal
			_, _, err := host.Step(r, host.Stamped{Seq: r.LastEventSeq, Event: row.event}, t0, policy())
			if !errors.Is(err, host.ErrSeqRegression) {
				t.Errorf("%T in %s: %v", row.event, state, err)
			}
		}
	}
}

func TestAnEventOfUnknownTypeIsAnErrorOfItsOwn(t *testing.T) {
	for _, e := range []host.Event{nil, &started} {
		if _, _, err := host.Step(inState(t, host.Activating), host.Stamped{Seq: 9, Event: e}, t0, policy()); !errors.Is(err, host.ErrUnknownEvent) {
			t.Errorf("%T: %v", e, err)
		}
	}
}

func TestCheckAcceptsTheRecordsOfEveryState(t *testing.T) {
	for _, state := range host.States {
		r := inState(t, state)
		if err := host.Check(&r); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
}

func TestCheckRefusesWhatStepNeverMakes(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  host.State
		change func(*host.Record)
	}{
		{"no rollout", host.Pending, func(r *host.Record) { r.RolloutID = "" }},
		{"no hostname", host.Pending, func(r *host.Record) { r.Hostname = "" }},
		{"no channel", host.Pending, func(r *host.Record) { r.Channel = "" }},
		{"no target", host.Pending, func(r *host.Record) { r.TargetClosure = "" }},
		{"never dispatched", host.Pending, func(r *host.Record) { r.DispatchedAt = time.Time{} }},
		{"a state that is none", host.Pending, func(r *host.Record) { r.State = 7 }},
		{"a policy that is none", host.Failed, func(r *host.Record) { r.PolicyApplied = 3 }},
		{"superseded by itself", host.Soaking, func(r *host.Record) { r.SupersededBy = r.RolloutID }},
		{"pending yet acknowledged", host.Pending, func(r *host.Record) { r.DispatchAckedAt = t0 }},
		{"pending yet started", host.Pending, func(r *host.Record) { r.ActivationStartedAt = t0 }},
		{"activating yet never acknowledged", host.Activating, func(r *host.Record) { r.DispatchAckedAt = time.Time{} }},
		{"activating without an event", host.Activating, func(r *host.Record) { r.LastEventSeq = 0 }},
		{"activating yet deferred", host.Activating, func(r *host.Record) { r.DeferredComponent = "init" }},
		{"activating yet completed", host.Activating, func(r *host.Record) { r.ActivationCompletedAt = t0 }},
		{"activating with probes declared", host.Activating, func(r *host.Record) { r.Declared = []host.Declaration{} }},
		{"soaking, never completed", host.Soaking, func(r *host.Record) { r.ActivationCompletedAt = time.Time{} }},
		{"soaking without an end", host.Soaking, func(r *host.Record) { r.SoakDueAt = time.Time{} }},
		{"soaking until before it began", host.Soaking, func(r *host.Record) { r.SoakDueAt = t0 }},
		{"soaking another closure", host.Soaking, func(r *host.Record) { r.CurrentClosure = otherClosure }},
		{"soaking yet failed", host.Soaking, func(r *host.Record) { r.FailedAt = t0 }},
		{"soaking yet failed to activate", host.Soaking, func(r *host.Record) { r.ActivationFailedAt = t0 }},
		{"soaking with a rollback tried", host.Soaking, func(r *host.Record) { r.RollbackAttempts = 1 }},
		{"soaking with a policy applied", host.Soaking, func(r *host.Record) { r.PolicyApplied = host.Halt }},
		{"soaking yet converged", host.Soaking, func(r *host.Record) { r.ConvergedAt = t0 }},
		{"soaking yet reverted", host.Soaking, func(r *host.Record) { r.RevertedTo = oldClosure }},
		{"a streak with nothing failing", host.Soaking, func(r *host.Record) { r.ProbeFailureFirstAt = t0 }},
		{"probes out of order", host.Soaking, func(r *host.Record) { r.Probes = []*host.Probe{r.Probes[0], r.Probes[0]} }},
		{"a nil probe", host.Soaking, func(r *host.Record) { r.Probes = []*host.Probe{nil} }},
		{"a probe of no mode", host.Soaking, func(r *host.Record) { r.Probes[0].Mode = 3 }},
		{"a probe of no status", host.Soaking, func(r *host.Record) { r.Probes[0].Status = 2 }},
		{"a probe never observed", host.Soaking, func(r *host.Record) { r.Probes[0].LastObservedAt = time.Time{} }},
		{"a pass that never passed", host.Soaking, func(r *host.Record) { r.Probes[0].LastPassAt = time.Time{} }},
		{"a pass with a reason", host.Soaking, func(r *host.Record) { r.Probes[0].FailureReason = "x" }},
		{"a declaration of no mode", host.Soaking, func(r *host.Record) { r.Declared[0].Mode = 3 }},
		{"declarations out of order", host.Soaking, func(r *host.Record) { r.Declared = append(r.Declared, r.Declared[0]) }},
		{"more probes than there may be", host.Soaking, func(r *host.Record) { r.Declared = make([]host.Declaration, host.MaxProbes+1) }},
		{"a failure without a streak", host.Failed, func(r *host.Record) { r.ProbeFailureFirstAt = time.Time{} }},
		{"failed at no time", host.Failed, func(r *host.Record) { r.FailedAt = time.Time{} }},
		{"failed under no policy", host.Failed, func(r *host.Record) { r.PolicyApplied = host.NoPolicy }},
		{"failed both ways", host.Failed, func(r *host.Record) { r.ActivationFailedAt = t0 }},
		{"converged too early", host.Converged, func(r *host.Record) { r.ConvergedAt = r.SoakDueAt.Add(-1) }},
		{"converged at no time", host.Converged, func(r *host.Record) { r.ConvergedAt = time.Time{} }},
		{"converged without a topology", host.Converged, func(r *host.Record) { r.Declared = nil }},
		{"converged without a result", host.Converged, func(r *host.Record) { r.Probes = nil }},
		{"converged on another closure", host.Converged, func(r *host.Record) { r.CurrentClosure = otherClosure }},
		{"converged, never completed", host.Converged, func(r *host.Record) {
			r.ActivationCompletedAt, r.ProbeObservedFirstAt, r.Declared, r.Probes = time.Time{}, time.Time{}, nil, nil
		}},
		{"reverted to another closure", host.Reverted, func(r *host.Record) { r.RevertedTo, r.CurrentClosure = otherClosure, otherClosure }},
		{"reverted, running something else", host.Reverted, func(r *host.Record) { r.CurrentClosure = newClosure }},
		{"reverted at no time", host.Reverted, func(r *host.Record) { r.RevertedAt = time.Time{} }},
	} {
		r := deepCopy(inState(t, c.state))
		c.change(&r)
		if err := host.Check(&r); !errors.Is(err, host.ErrInvariant) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestNextDeadlineIsTheEndOfTheSoakOrOfPatience(t *testing.T) {
	p := policy()
	soaking := inState(t, host.Soaking)
	if at, ok := host.NextDeadline(&soaking, &p); !ok || !at.Equal(soaking.SoakDueAt) {
		t.Errorf("healthy: %v %v, want the end of the soak %v", at, ok, soaking.SoakDueAt)
	}
	failing := step(t, soaking, fails)
	if at, ok := host.NextDeadline(&failing, &p); !ok || !at.Equal(failing.SoakDueAt) {
		t.Errorf("failing, soak ends first: %v %v, want %v", at, ok, failing.SoakDueAt)
	}
	p.SustainedFailureSeconds = 5
	if at, ok := host.NextDeadline(&failing, &p); !ok || !at.Equal(failing.ProbeFailureFirstAt.Add(5*time.Second)) {
		t.Errorf("failing: %v %v, want five seconds into the streak", at, ok)
	}
	failing.SupersededBy = "edge@def"
	if at, ok := host.NextDeadline(&failing, &p); ok {
		t.Errorf("superseded: %v", at)
	}
	for _, state := range host.States {
		r := inState(t, state)
		if _, ok := host.NextDeadline(&r, &p); ok != (state == host.Soaking) {
			t.Errorf("%s: ok is %v", state, ok)
		}
	}
}

func TestASoakEndsBeforeTimesThatCannotBeWritten(t *testing.T) {
	r := step(t, pending(), activate)
	last := time.Date(9999, 12, 31, 23, 59, 58, 0, time.UTC)
	r = step(t, r, host.ActivationCompleted{ObservedCurrentClosure: newClosure, CompletedAt: last})
	if r.SoakDueAt.Year() != 9999 {
		t.Errorf("soakDueAt is %s", r.SoakDueAt)
	}
}

func TestSoakIsThatOfTheWaveAndBeyondTheLastThatOfTheLast(t *testing.T) {
	p := host.Policy{WaveSoaks: []uint64{10, 20, 1 << 60}}
	for wave, want := range map[uint32]time.Duration{
		0: 10 * time.Second, 1: 20 * time.Second, 2: host.MaxSoakSeconds * time.Second, 9: host.MaxSoakSeconds * time.Second,
	} {
		if got := p.Soak(wave); got != want {
			t.Errorf("wave %d: %s, want %s", wave, got, want)
		}
	}
	if got := (&host.Policy{}).Soak(3); got != 0 {
		t.Errorf("no waves: %s, want none", got)
	}
	if got := (&host.Policy{WaveSoaks: []uint64{10}, HasSoak: true}).Soak(0); got != 0 {
		t.Errorf("captured soak of 0: %s", got)
	}
}

func TestAHostCannotGrowARecordWithoutBound(t *testing.T) {
	r := step(t, pending(), activate, completed)
	for i := range host.MaxProbes {
		r = step(t, r, host.ProbeResult{ProbeName: fmt.Sprintf("p%03d", i), ObservedAt: t0})
	}
	for _, e := range []host.Event{
		host.ProbeResult{ProbeName: "one more", ObservedAt: t0},
		host.ProbeTopologyDeclared{Probes: make([]host.DeclaredProbe, host.MaxProbes+1)},
	} {
		if _, _, err := host.Step(r, host.Stamped{Seq: r.LastEventSeq + 1, Event: e}, t0, policy()); !errors.Is(err, host.ErrInvariant) {
			t.Errorf("%T: %v", e, err)
		}
	}
	step(t, r, host.ProbeResult{ProbeName: "p000", ObservedAt: t0})
	if err := host.Check(&r); err != nil {
		t.Error(err)
	}
}

func TestNamesOfStatesAndEnumsAreReadBack(t *testing.T) {
	for _, s := range host.States {
		if got, err := host.ParseState(s.String()); err != nil || got != s {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	if _, err := host.ParseState("soaking"); err == nil {
		t.Error("a state in the wrong case was read")
	}
	for _, s := range []fmt.Stringer{host.State(9), host.Mode(9), host.Status(9), host.OnFailure(9)} {
		if !strings.HasSuffix(s.String(), "(9)") {
			t.Errorf("%T of 9 is called %s", s, s)
		}
	}
}
