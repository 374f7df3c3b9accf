package wire_test

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"nixfleet/host"
	"nixfleet/wire"
)

// optional are the fields that may be absent; all others of string and time are drawn non-zero.
var optional = []string{
	"Activate.CurrentClosureAtDispatch", "Activate.PolicyHash", "Activate.DispatchedAt", "Activate.TargetClosure", "Activate.SoakDueAt",
	"ActivationStarted.SwitchMethod", "ActivationCompleted.ObservedCurrentClosure", "ActivationDeferred.Component", "ActivationFailed.StderrTail",
	"RollbackCompleted.RevertedToClosure", "RollbackFailed.StderrTail", "ConvergedReached.CurrentClosure", "DeclaredProbe.Kind",
	"ProbeResult.FailureReason", "SubResult.Article", "SubResult.OverrideReason",
	"Record.CurrentClosureAtDispatch", "Record.CurrentClosure", "Record.RevertedTo", "Record.PolicyHash", "Record.DispatchAckedAt",
	"Record.ActivationStartedAt", "Record.ActivationCompletedAt", "Record.ActivationFailedAt", "Record.DeferredComponent",
	"Record.ProbeObservedFirstAt", "Record.ProbeFailureFirstAt", "Record.SoakDueAt", "Record.ConvergedAt", "Record.FailedAt",
	"Record.PolicyApplied", "Record.RevertedAt", "Record.SupersededBy", "Probe.LastPassAt", "Probe.FailureReason",
	"Envelope.Signature", "Envelope.Epoch", "BatchResult.Error", "Problem.Error", "Dispatch.TicketHash",
	"Heartbeat.RolloutID", "Heartbeat.CurrentClosure", "Heartbeat.Epoch", "Heartbeat.BootID", "Heartbeat.Instance",
	"Heartbeat.Drifted", "Heartbeat.Degraded",
	"Snapshot.CurrentClosureAtDispatch", "Snapshot.CurrentClosure", "Snapshot.DispatchAckedAt", "Snapshot.ActivationStartedAt",
	"Snapshot.ActivationCompletedAt", "Snapshot.SoakDueAt", "Snapshot.PolicyHash", "Snapshot.PolicyApplied", "Snapshot.RevertedTo",
	"Snapshot.DeferredComponent", "RecordMessage.Signature", "RecordMessage.Epoch",
}

// draw gives a value that can be on the wire, with every field filled by its type.
func draw[T any](t *rapid.T) T {
	var v T
	fill(t, reflect.ValueOf(&v).Elem(), "")
	return v
}

func fill(t *rapid.T, v reflect.Value, field string) {
	absent := slices.Contains(optional, field) && rapid.Bool().Draw(t, field+" absent")
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		if !absent {
			*p = anyTime(t)
		}
		return
	case *host.OnFailure:
		if !absent {
			*p = rapid.SampledFrom([]host.OnFailure{host.Halt, host.RollbackAndHalt}).Draw(t, field)
		}
		return
	case *host.State:
		*p = rapid.SampledFrom(host.States[:]).Draw(t, field)
		return
	case *host.Mode:
		*p = rapid.SampledFrom([]host.Mode{host.Enforce, host.Observe, host.Disabled}).Draw(t, field)
		return
	case *host.Status:
		*p = rapid.SampledFrom([]host.Status{host.Pass, host.Fail}).Draw(t, field)
		return
	case *[]byte:
		*p = rapid.SampledFrom([][]byte{nil, []byte(`{"a":[1,2.5,"x"]}`)}).Draw(t, field)
		return
	case *string:
		if !absent {
			*p = anyText(t)
		}
		return
	case *[]host.Declaration:
		*p = anyDeclared(t)
		return
	case *[]*host.Probe:
		*p = anyProbes(t)
		return
	}
	fillKind(t, v, field)
}

func fillKind(t *rapid.T, v reflect.Value, field string) {
	// Messages have fields of these kinds only; the default says so if that changes.
	//exhaustive:ignore
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name)
		}
		for i := range v.NumField() { // what a Has field denies is zero
			if has := v.FieldByName("Has" + v.Type().Field(i).Name); has.IsValid() && !has.Bool() {
				v.Field(i).SetZero()
			}
		}
	case reflect.Slice:
		for range rapid.IntRange(0, 3).Draw(t, field) {
			entry := reflect.New(v.Type().Elem()).Elem()
			fill(t, entry, field)
			v.Set(reflect.Append(v, entry))
		}
	case reflect.Map:
		if n := rapid.IntRange(0, 3).Draw(t, field); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				entry := reflect.New(v.Type().Elem()).Elem()
				fill(t, entry, field)
				v.SetMapIndex(reflect.ValueOf(anyText(t)), entry)
			}
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, field) {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), field)
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, field))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, field))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, field)))
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, field)))
	case reflect.Int:
		v.SetInt(int64(rapid.SampledFrom([]int{wire.StatusSkipped, 204, 409}).Draw(t, field)))
	default:
		t.Fatalf("the generator knows no %s", v.Type())
	}
}

// anyText is short enough for every bound and hard enough for every escape.
func anyText(t *rapid.T) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z0-9@.-]{1,12}`),
		rapid.StringN(1, 20, 80),
		rapid.SampledFrom([]string{"\x00\x1f\b\f\n\r\t\"\\/", "<&>", "\u2028\u2029", "\U0001F600é", "\x7f", "null"}),
	).Draw(t, "text")
}

// anyTime has every precision, and years from 1 to 9999.
func anyTime(t *rapid.T) time.Time {
	seconds := rapid.OneOf(rapid.Int64Range(1.7e9, 1.9e9), rapid.Int64Range(-62135596799, 253402300799)).Draw(t, "seconds")
	nanos := rapid.SampledFrom([]int64{0, 250_000_000, 1000, 999_999_999}).Draw(t, "nanoseconds")
	return time.Unix(seconds, nanos).UTC()
}

func anyNames(t *rapid.T) []string {
	return slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "é\"\n"}), 0, 5).Draw(t, "names"))))
}

func anyDeclared(t *rapid.T) []host.Declaration {
	if rapid.Bool().Draw(t, "not declared") {
		return nil
	}
	list := []host.Declaration{}
	for _, name := range anyNames(t) {
		d := draw[host.Declaration](t)
		d.Name = name
		list = append(list, d)
	}
	return list
}

func anyProbes(t *rapid.T) []*host.Probe {
	var list []*host.Probe
	for _, name := range anyNames(t) {
		p := draw[host.Probe](t)
		p.Name = strings.Clone(name)
		list = append(list, &p)
	}
	return list
}

// anyEvent draws an event of any kind.
func anyEvent(t *rapid.T) host.Event {
	like := reflect.TypeOf(rapid.SampledFrom(host.AllEvents).Draw(t, "kind"))
	v := reflect.New(like).Elem()
	fill(t, v, "")
	e, ok := v.Interface().(host.Event)
	if !ok {
		t.Fatalf("%s is no event", like)
	}
	return e
}
