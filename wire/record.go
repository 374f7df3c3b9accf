package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// recordField is one field of a record: how it is compared, written and read. The table of them is the one truth about
// the JSON of a record; whole records and deltas are both made from it.
type recordField struct {
	name     string
	required bool // may never be absent; the others are absent at their zero value
	// always: written even at its zero value, because readers of other makes expect it there.
	always bool
	zero   func(*host.Record) bool
	same   func(a, b *host.Record) bool
	append func([]byte, *host.Record) []byte
	read   func(*strictjson.Object, string, *host.Record) // the field is there and not null
	clear  func(*host.Record)
	// patch writes the change from old, and merge reads it, where the value is an object; nil for any other.
	patch func(dst []byte, old, cur *host.Record) []byte
	merge func(*strictjson.Object, *host.Record)
}

// recordFields in the order of docs/design/02-host-state-machine.md, section 2.1.
var recordFields = [...]recordField{
	need(textField("rolloutId", MaxRolloutID, func(r *host.Record) *string { return &r.RolloutID })),
	need(textField("hostname", MaxHostname, func(r *host.Record) *string { return &r.Hostname })),
	need(textField("channel", MaxChannel, func(r *host.Record) *string { return &r.Channel })),
	countField("wave", func(r *host.Record) *uint32 { return &r.Wave }),
	need(stateField),
	need(textField("targetClosure", MaxClosure, func(r *host.Record) *string { return &r.TargetClosure })),
	textField("currentClosureAtDispatch", MaxClosure, func(r *host.Record) *string { return &r.CurrentClosureAtDispatch }),
	textField("currentClosure", MaxClosure, func(r *host.Record) *string { return &r.CurrentClosure }),
	textField("revertedTo", MaxClosure, func(r *host.Record) *string { return &r.RevertedTo }),
	textField("policyHash", MaxHash, func(r *host.Record) *string { return &r.PolicyHash }),
	need(timeField("dispatchedAt", func(r *host.Record) *time.Time { return &r.DispatchedAt })),
	timeField("dispatchAckedAt", func(r *host.Record) *time.Time { return &r.DispatchAckedAt }),
	timeField("activationStartedAt", func(r *host.Record) *time.Time { return &r.ActivationStartedAt }),
	timeField("activationCompletedAt", func(r *host.Record) *time.Time { return &r.ActivationCompletedAt }),
	timeField("activationFailedAt", func(r *host.Record) *time.Time { return &r.ActivationFailedAt }),
	textField("deferredComponent", MaxText, func(r *host.Record) *string { return &r.DeferredComponent }),
	timeField("probeObservedFirstAt", func(r *host.Record) *time.Time { return &r.ProbeObservedFirstAt }),
	timeField("probeFailureFirstAt", func(r *host.Record) *time.Time { return &r.ProbeFailureFirstAt }),
	timeField("soakDueAt", func(r *host.Record) *time.Time { return &r.SoakDueAt }),
	timeField("convergedAt", func(r *host.Record) *time.Time { return &r.ConvergedAt }),
	timeField("failedAt", func(r *host.Record) *time.Time { return &r.FailedAt }),
	policyAppliedField,
	timeField("revertedAt", func(r *host.Record) *time.Time { return &r.RevertedAt }),
	countField("rollbackAttempts", func(r *host.Record) *uint32 { return &r.RollbackAttempts }),
	textField("supersededBy", MaxRolloutID, func(r *host.Record) *string { return &r.SupersededBy }),
	declaredField,
	probesField,
	need(lastSeqField),
}

func need(f recordField) recordField {
	f.required, f.always = true, true
	return f
}

func textField(name string, most int, at func(*host.Record) *string) recordField {
	return recordField{
		name:   name,
		zero:   func(r *host.Record) bool { return *at(r) == "" },
		same:   func(a, b *host.Record) bool { return *at(a) == *at(b) },
		append: func(dst []byte, r *host.Record) []byte { return AppendString(dst, *at(r)) },
		read:   func(o *strictjson.Object, name string, r *host.Record) { *at(r) = text(o, name, most) },
		clear:  func(r *host.Record) { *at(r) = "" },
	}
}

func timeField(name string, at func(*host.Record) *time.Time) recordField {
	return recordField{
		name:   name,
		zero:   func(r *host.Record) bool { return at(r).IsZero() },
		same:   func(a, b *host.Record) bool { return at(a).Equal(*at(b)) },
		append: func(dst []byte, r *host.Record) []byte { return AppendTime(dst, *at(r)) },
		read:   func(o *strictjson.Object, name string, r *host.Record) { *at(r) = o.Time(name) },
		clear:  func(r *host.Record) { *at(r) = time.Time{} },
	}
}

func countField(name string, at func(*host.Record) *uint32) recordField {
	return recordField{
		name:   name,
		always: true,
		zero:   func(r *host.Record) bool { return *at(r) == 0 },
		same:   func(a, b *host.Record) bool { return *at(a) == *at(b) },
		append: func(dst []byte, r *host.Record) []byte { return strconv.AppendUint(dst, uint64(*at(r)), 10) },
		read:   func(o *strictjson.Object, name string, r *host.Record) { *at(r) = o.Uint32(name) },
		clear:  func(r *host.Record) { *at(r) = 0 },
	}
}

var stateField = recordField{
	name:   "state",
	zero:   func(*host.Record) bool { return false },
	same:   func(a, b *host.Record) bool { return a.State == b.State },
	append: func(dst []byte, r *host.Record) []byte { return AppendString(dst, r.State.String()) },
	read:   func(o *strictjson.Object, name string, r *host.Record) { r.State = state(o, name) },
	clear:  func(*host.Record) {},
}

func state(o *strictjson.Object, key string) host.State {
	name := o.String(key)
	if o.Err() != nil {
		return host.Pending
	}
	s, err := host.ParseState(name)
	if err != nil {
		o.Fail(key, "%q is unknown, want one of %v", Text(name, MaxProbeName), host.States)
	}
	return s
}

var policyAppliedField = recordField{
	name:   "policyApplied",
	zero:   func(r *host.Record) bool { return r.PolicyApplied == host.NoPolicy },
	same:   func(a, b *host.Record) bool { return a.PolicyApplied == b.PolicyApplied },
	append: func(dst []byte, r *host.Record) []byte { return AppendString(dst, r.PolicyApplied.String()) },
	read:   func(o *strictjson.Object, name string, r *host.Record) { r.PolicyApplied = onFailure(o, name) },
	clear:  func(r *host.Record) { r.PolicyApplied = host.NoPolicy },
}

var lastSeqField = recordField{
	name:   "lastEventSeq",
	zero:   func(*host.Record) bool { return false },
	same:   func(a, b *host.Record) bool { return a.LastEventSeq == b.LastEventSeq },
	append: func(dst []byte, r *host.Record) []byte { return strconv.AppendUint(dst, r.LastEventSeq, 10) },
	read:   func(o *strictjson.Object, name string, r *host.Record) { r.LastEventSeq = o.Uint64(name) },
	clear:  func(*host.Record) {},
}

var declaredField = recordField{
	name: "declaredProbes",
	zero: func(r *host.Record) bool { return r.Declared == nil },
	same: func(a, b *host.Record) bool {
		return (a.Declared == nil) == (b.Declared == nil) && slices.Equal(a.Declared, b.Declared)
	},
	append: func(dst []byte, r *host.Record) []byte {
		o := open(dst)
		for i := range r.Declared {
			o.name(r.Declared[i].Name)
			o.buf = AppendString(o.buf, r.Declared[i].Mode.String())
		}
		return o.close()
	},
	read: func(o *strictjson.Object, name string, r *host.Record) {
		r.Declared = []host.Declaration{}
		mergeDeclared(o.Object(name), r)
	},
	clear: func(r *host.Record) { r.Declared = nil },
	patch: patchDeclared,
	merge: mergeDeclared,
}

var probesField = recordField{
	name:   "probes",
	always: true,
	zero:   func(r *host.Record) bool { return len(r.Probes) == 0 },
	same: func(a, b *host.Record) bool {
		return slices.EqualFunc(a.Probes, b.Probes, func(p, q *host.Probe) bool { return p == q || p.Equal(q) })
	},
	append: func(dst []byte, r *host.Record) []byte {
		o := open(dst)
		for _, p := range r.Probes {
			o.name(p.Name)
			o.buf = appendProbe(o.buf, p)
		}
		return o.close()
	},
	read: func(o *strictjson.Object, name string, r *host.Record) {
		r.Probes = nil
		mergeProbes(o.Object(name), r)
	},
	clear: func(r *host.Record) { r.Probes = nil },
	patch: patchProbes,
	merge: mergeProbes,
}

func appendProbe(dst []byte, p *host.Probe) []byte {
	o := open(dst)
	o.str("status", p.Status.String())
	o.str("mode", p.Mode.String())
	o.time("lastObservedAt", p.LastObservedAt)
	o.optTime("lastPassAt", p.LastPassAt)
	o.optStr("failureReason", p.FailureReason)
	return o.close()
}

// AppendRecord appends the JSON of a record, in the order of docs/design/02-host-state-machine.md, section 2.1. What is
// not known yet is not written.
func AppendRecord(dst []byte, r *host.Record) []byte {
	o := open(dst)
	for i := range recordFields {
		f := &recordFields[i]
		if f.always || !f.zero(r) {
			o.key(f.name)
			o.buf = f.append(o.buf, r)
		}
	}
	return o.close()
}

// DecodeRecord reads a record. It checks its form only; whether a record can be true is for host.Check to say.
func DecodeRecord(o *strictjson.Object) (host.Record, error) {
	var r host.Record
	for i := range recordFields {
		f := &recordFields[i]
		if f.required || o.Has(f.name) {
			f.read(o, f.name, &r)
		}
	}
	if err := o.Err(); err != nil {
		return host.Record{}, fmt.Errorf("wire: record: %w", err)
	}
	return r, nil
}

// insertDeclared puts d in its place by name, over an entry that is there.
func insertDeclared(list []host.Declaration, d host.Declaration) []host.Declaration {
	i, found := slices.BinarySearchFunc(list, d.Name, func(e host.Declaration, name string) int { return strings.Compare(e.Name, name) })
	if found {
		list[i] = d
		return list
	}
	return slices.Insert(list, i, d)
}

// insertProbe puts p in its place by name, over an entry that is there.
func insertProbe(list []*host.Probe, p *host.Probe) []*host.Probe {
	i, found := findProbe(list, p.Name)
	if found {
		list[i] = p
		return list
	}
	return slices.Insert(list, i, p)
}

func findProbe(list []*host.Probe, name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(e *host.Probe, name string) int { return strings.Compare(e.Name, name) })
}
