// Package strictjson reads JSON from outside without forgiving anything that could change its meaning.
//
// encoding/json accepts duplicate keys, keys in the wrong case, null where a value is required, invalid UTF-8,
// lone surrogates and numbers that silently lose precision. A document that moves a host must not be read that
// way by one side and another way by the other. [Parse] refuses all of these and gives a tree of [Value]s;
// [Object] reads named fields out of it, remembers the first error with its path and ignores unknown fields.
//
//	v, err := strictjson.Parse(body, strictjson.DefaultLimits)
//	o := v.Object()
//	host := o.String("hostname")
//	seq := o.Object("event").Uint64("seq")
//	if err := o.Err(); err != nil { ... } // names the path, what was found and what is allowed
//
// Values are immutable after Parse and may be read from several goroutines; an [Object] belongs to one. Raw bytes
// alias the input, which the caller must not change while it uses the tree.
//
// The rules are those of docs/design/03-wire-protocol.md. Tests compare acceptance with encoding/json on a corpus
// and by fuzzing: everything accepted here is accepted there with the same values.
package strictjson
