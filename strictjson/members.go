package strictjson

import "iter"

// Members gives the members of a Map in the order they were written, nothing for any other kind. A document maps
// 100,000 host names to objects: looking each up by name would cost the square of that.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i := range v.members {
			if !yield(v.members[i].key, v.members[i].value) {
				return
			}
		}
	}
}

// Len returns how many members a Map or elements an Array has, 0 for any other kind.
func (v Value) Len() int { return max(len(v.members), len(v.elems)) }

// Each reads a required object whose members are themselves objects, such as hosts by name, and calls read for each
// in written order until an error is recorded.
func (o *Object) Each(key string, read func(name string, member *Object)) {
	in := o.Object(key)
	for name, value := range in.value.Members() {
		if value.Kind != Map {
			in.fail(name, "want an object, got %s", value.Kind)
		}
		if *o.err != nil {
			return
		}
		read(name, &Object{value: value, parent: in, segment: name, err: o.err})
	}
}
