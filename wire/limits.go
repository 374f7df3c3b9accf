package wire

import (
	"nixfleet/host"
	"nixfleet/strictjson"
)

// ErrMalformed is the class of every decoding error of this package.
var ErrMalformed = strictjson.ErrMalformed

// Bounds of the protocol. A message beyond them is refused when read, except for texts made by nixfleet itself, which
// are cut when made.
const (
	// MaxBody bounds the body of a message, in bytes: a full batch of ordinary events fits three times over.
	MaxBody = 1 << 20
	// MaxDocument bounds a signed document, in bytes: a fleet of 100,000 hosts is 23 MB.
	MaxDocument = 32 << 20
	// MaxBatch is how many envelopes one batch has: one transaction of the control plane, well below MaxBody.
	MaxBatch = 256
	// MaxHostname is the longest DNS name, in bytes.
	MaxHostname = 253
	// MaxRolloutID bounds "{channel}@{ref}", in bytes, as rollout ids are bounded everywhere.
	MaxRolloutID = 256
	// MaxChannel bounds a channel, which is a part of a rollout id.
	MaxChannel = MaxRolloutID
	// MaxClosure bounds a closure name: a file name has at most 255 bytes on the file systems it lives on.
	MaxClosure = 256
	// MaxProbeName bounds the name of a probe, in bytes: it is read by people in tables.
	MaxProbeName = 128
	// MaxProbes is how many probes a host has: one topology of them stays far below MaxBody.
	MaxProbes = host.MaxProbes
	// MaxSubResults is how many controls one evidence probe reports: the largest framework known lists about 1,200.
	MaxSubResults = 4096
	// MaxReason is the longest failure reason nixfleet makes, in bytes: 512 and the mark that says it was cut.
	MaxReason = 512 + len(Truncated)
	// MaxStderrTail is how much of a switch's output nixfleet reports, in bytes: the last screen or two of it.
	MaxStderrTail = 4096
	// MaxText bounds any text that is only carried, in bytes: four times the longest that nixfleet makes, for agents of
	// other makes; it bounds what one host can make the mirror keep.
	MaxText = 16 << 10
	// MaxHash bounds an id that is a hash or a random number in text form: a hex SHA-512 has 128 bytes.
	MaxHash = 128
	// MaxSignature bounds a signature in hex or base64: Ed25519 has 128 hex digits.
	MaxSignature = 256
	// MaxHostRollouts is how many rollouts one host speaks of in a message: it keeps one active, eight finished, and the
	// control plane accepts sixteen it does not know.
	MaxHostRollouts = 256
	// MaxPEM bounds a certificate or a request, in bytes: an RSA-4096 chain of three has under 8 KiB.
	MaxPEM = 16 << 10
)

// Truncated ends a text that was cut.
const Truncated = "...[truncated]"

var bodyLimits = strictjson.Limits{Bytes: MaxBody, Depth: strictjson.DefaultLimits.Depth}

// parse reads one message as an object.
func parse(data []byte) (*strictjson.Object, error) {
	v, err := strictjson.Parse(data, bodyLimits)
	if err != nil {
		return nil, err
	}
	o := v.Object()
	return o, o.Err()
}

// text reads a required string of at most most bytes.
func text(o *strictjson.Object, key string, most int) string {
	s := o.String(key)
	if len(s) > most {
		o.Fail(key, "%d bytes, at most %d allowed", len(s), most)
		return ""
	}
	return s
}

// optText reads a string of at most most bytes that may be absent, "" then.
func optText(o *strictjson.Object, key string, most int) string {
	if !o.Has(key) {
		return ""
	}
	return text(o, key, most)
}

// named reads a required string that names something: it may not be empty either.
func named(o *strictjson.Object, key string, most int) string {
	s := text(o, key, most)
	if s == "" {
		o.Fail(key, "empty")
	}
	return s
}

// most refuses an array or object of more than limit members.
func most(o *strictjson.Object, key string, n, limit int) {
	if n > limit {
		o.Fail(key, "%d entries, at most %d allowed", n, limit)
	}
}
