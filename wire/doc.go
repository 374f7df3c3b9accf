// Package wire is the language of the two sides: every message of the protocol, and the JSON of every host value.
//
// Bytes in, values out. Decoding is strict, by package strictjson: unknown fields are ignored, everything else that
// could be read in two ways is refused. Encoding appends to a byte slice by hand, in one canonical order, so that one
// value has one spelling and a hot path allocates nothing.
//
//	body := wire.AppendEvent(nil, seq, event)      // agent
//	env, err := wire.DecodeEnvelope(request)       // control plane; env.RawEvent is what was sent, byte for byte
//	json := wire.AppendRecord(nil, &record)
//
// Optional fields that are absent are not written; a null on input reads as absent. Times are written in UTC with a Z.
// Strings are always written as valid JSON: bytes that are not UTF-8 become U+FFFD. A side that makes text from outside
// bytes (the output of a program, say) passes it through [Text] or [Tail] first, so that both sides keep the same.
//
// Errors of decoding are of class [ErrMalformed] and name the path, what was found and what is allowed.
//
// The package is pure and safe for use from any goroutine. It implements docs/design/03-wire-protocol.md, and the JSON
// forms of docs/design/02-host-state-machine.md. Tests: golden messages in testdata (rewritten by go test ./wire
// -rewrite), round trips of generated values, a table of refusals, and fuzzing of every decoder that faces the network.
package wire
