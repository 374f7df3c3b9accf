package wire

import (
	"fmt"
	"slices"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// RecordDelta appends what changed from old to cur, as an RFC 7386 merge patch of their JSON: the fields that differ,
// null for one that became absent, and within declaredProbes and probes the entries that differ, null for one that
// went. A journal that stores deltas grows with what happened and not with how much a record knows.
func RecordDelta(dst []byte, old, cur *host.Record) []byte {
	o := open(dst)
	for i := range recordFields {
		f := &recordFields[i]
		switch {
		case f.same(old, cur):
		case f.zero(cur) && !f.always:
			o.null(f.name)
		case f.patch != nil:
			o.key(f.name)
			o.buf = f.patch(o.buf, old, cur)
		default:
			o.key(f.name)
			o.buf = f.append(o.buf, cur)
		}
	}
	return o.close()
}

// ApplyDelta gives the record that RecordDelta was made towards. r is not changed. It checks the form only.
func ApplyDelta(r host.Record, delta *strictjson.Object) (host.Record, error) {
	next := r
	next.Declared = slices.Clone(r.Declared)
	next.Probes = slices.Clone(r.Probes)
	for i := range recordFields {
		f := &recordFields[i]
		switch {
		case !delta.Defined(f.name):
		case delta.Has(f.name) && f.merge != nil:
			f.merge(delta.Object(f.name), &next)
		case delta.Has(f.name):
			f.read(delta, f.name, &next)
		case f.required:
			delta.Fail(f.name, "null, but it may not be absent")
		default:
			f.clear(&next)
		}
	}
	if err := delta.Err(); err != nil {
		return r, fmt.Errorf("wire: delta: %w", err)
	}
	return next, nil
}

func patchDeclared(dst []byte, old, cur *host.Record) []byte {
	o := open(dst)
	was := old.Declared
	for _, d := range cur.Declared {
		for len(was) > 0 && was[0].Name < d.Name {
			o.name(was[0].Name)
			o.buf = append(o.buf, "null"...)
			was = was[1:]
		}
		same := false
		if len(was) > 0 && was[0].Name == d.Name {
			same, was = was[0] == d, was[1:]
		}
		if !same {
			o.name(d.Name)
			o.buf = AppendString(o.buf, d.Mode.String())
		}
	}
	for _, gone := range was {
		o.name(gone.Name)
		o.buf = append(o.buf, "null"...)
	}
	return o.close()
}

func mergeDeclared(o *strictjson.Object, r *host.Record) {
	if r.Declared == nil {
		r.Declared = []host.Declaration{}
	}
	keys := o.Keys()
	most(o, "", len(keys), MaxProbes)
	if o.Err() != nil {
		return
	}
	for _, name := range keys {
		checkProbeName(o, name)
		if !o.Has(name) {
			r.Declared = slices.DeleteFunc(r.Declared, func(d host.Declaration) bool { return d.Name == name })
			continue
		}
		r.Declared = insertDeclared(r.Declared, host.Declaration{Name: name, Mode: mode(o, name)})
	}
	most(o, "", len(r.Declared), MaxProbes)
}

func checkProbeName(o *strictjson.Object, name string) {
	if name == "" || len(name) > MaxProbeName {
		o.Fail("", "a probe name of %d bytes, 1 to %d allowed", len(name), MaxProbeName)
	}
}

func patchProbes(dst []byte, old, cur *host.Record) []byte {
	o := open(dst)
	was := old.Probes
	for _, p := range cur.Probes {
		for len(was) > 0 && was[0].Name < p.Name {
			o.name(was[0].Name)
			o.buf = append(o.buf, "null"...)
			was = was[1:]
		}
		if len(was) == 0 || was[0].Name != p.Name {
			o.name(p.Name)
			o.buf = appendProbe(o.buf, p)
			continue
		}
		if q := was[0]; q != p && !q.Equal(p) {
			o.name(p.Name)
			o.buf = patchProbe(o.buf, q, p)
		}
		was = was[1:]
	}
	for _, gone := range was {
		o.name(gone.Name)
		o.buf = append(o.buf, "null"...)
	}
	return o.close()
}

// patchProbe writes the fields in which p differs from q.
func patchProbe(dst []byte, q, p *host.Probe) []byte {
	o := open(dst)
	if p.Status != q.Status {
		o.str("status", p.Status.String())
	}
	if p.Mode != q.Mode {
		o.str("mode", p.Mode.String())
	}
	if !p.LastObservedAt.Equal(q.LastObservedAt) {
		o.time("lastObservedAt", p.LastObservedAt)
	}
	switch {
	case p.LastPassAt.Equal(q.LastPassAt):
	case p.LastPassAt.IsZero():
		o.null("lastPassAt")
	default:
		o.time("lastPassAt", p.LastPassAt)
	}
	switch p.FailureReason {
	case q.FailureReason:
	case "":
		o.null("failureReason")
	default:
		o.str("failureReason", p.FailureReason)
	}
	return o.close()
}

func mergeProbes(o *strictjson.Object, r *host.Record) {
	keys := o.Keys()
	most(o, "", len(keys), MaxProbes)
	if o.Err() != nil {
		return
	}
	for _, name := range keys {
		checkProbeName(o, name)
		if !o.Has(name) {
			r.Probes = slices.DeleteFunc(r.Probes, func(p *host.Probe) bool { return p.Name == name })
			continue
		}
		var old *host.Probe
		if i, found := findProbe(r.Probes, name); found {
			old = r.Probes[i]
		}
		r.Probes = insertProbe(r.Probes, mergeProbe(o.Object(name), name, old))
	}
	most(o, "", len(r.Probes), MaxProbes)
}

// mergeProbe reads an entry over old, or a whole one if old is nil. Old entries are shared and never written.
func mergeProbe(o *strictjson.Object, name string, old *host.Probe) *host.Probe {
	p := &host.Probe{Name: name}
	if old != nil {
		*p = *old
	}
	if old == nil || o.Defined("status") {
		p.Status = status(o, "status")
	}
	if old == nil || o.Defined("mode") {
		p.Mode = mode(o, "mode")
	}
	if old == nil || o.Defined("lastObservedAt") {
		p.LastObservedAt = o.Time("lastObservedAt")
	}
	if o.Defined("lastPassAt") {
		p.LastPassAt = o.OptTime("lastPassAt")
	}
	if o.Defined("failureReason") {
		p.FailureReason = optText(o, "failureReason", MaxText)
	}
	return p
}
