package core

import (
	"errors"
	"fmt"

	"nixfleet/clock"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// Schema is the version of the payloads this package writes and the highest it reads; the journal keeps it per
// segment and sets aside what is newer.
const Schema = 1

// payloadLimits are the journal's bound on a payload, and the depth of a ticket within a frame.
var payloadLimits = strictjson.Limits{Bytes: 16 << 20, Depth: 40}

// ErrFrame is the class of a payload that is not one of ours.
var ErrFrame = errors.New("core: bad frame")

type encodedFact []byte

// encodeFact writes a fact. It must be given the state before the fact: a record is stored as what changed.
func encodeFact(f Fact, before *state) (encodedFact, error) {
	o := open(nil)
	switch f := f.(type) {
	case Captured:
		o.text("fact", "captured")
		o.raw("record", wire.AppendRecord(nil, &f.Record))
		o.raw("policy", wire.AppendPolicy(nil, &f.Policy))
		o.raw("ticket", f.Ticket)
		o.bytes("sig", f.Sig)
		if !f.Floor.SignedAt.IsZero() {
			o.raw("floor", f.Floor.append(nil))
		}
		o.optTrue("adopted", f.Adopted)
		return o.close(), nil
	case Stepped:
		r := before.rollouts[f.RolloutID]
		if r == nil {
			return nil, fmt.Errorf("%w: no rollout %q", errFact, f.RolloutID)
		}
		o.text("rolloutId", f.RolloutID)
		o.raw("event", wire.AppendEvent(nil, f.Seq, f.Event))
		o.raw("delta", wire.RecordDelta(nil, &r.rec, &f.Record))
		return o.close(), nil
	case Fired:
		o.text("fact", "fired")
		o.text("rolloutId", f.RolloutID)
		o.number("attempt", uint64(f.Attempt))
		return o.close(), nil
	case Superseded:
		o.text("fact", "superseded")
		o.text("rolloutId", f.RolloutID)
		o.text("by", f.By)
		return o.close(), nil
	case Pruned:
		o.text("fact", "pruned")
		o.text("rolloutId", f.RolloutID)
		return o.close(), nil
	case Accounted:
		o.text("fact", "accounted")
		o.text("rolloutId", f.RolloutID)
		appendAccount(o, &f)
		return o.close(), nil
	case Forked:
		o.text("fact", "forked")
		o.text("epoch", f.Epoch)
		return o.close(), nil
	}
	return nil, fmt.Errorf("%w: unknown %T", errFact, f)
}

func appendAccount(o *object, f *Accounted) {
	o.number("acked", f.Acked)
	o.number("done", f.Done)
	o.optNumber("base", f.Base)
	o.optTrue("owed", f.Owed)
	if len(f.Dead) > 0 {
		o.list("dead", len(f.Dead), func(dst []byte, i int) []byte {
			in := open(dst)
			in.number("seq", f.Dead[i].Seq)
			in.number("status", uint64(max(f.Dead[i].Status, 0)))
			in.optText("reason", f.Dead[i].Reason)
			return in.close()
		})
	}
}

func (f Floor) append(dst []byte) []byte {
	o := open(dst)
	o.optTime("signedAt", f.SignedAt)
	o.text("keys", f.Keys)
	return o.close()
}

func readFloor(o *strictjson.Object) Floor {
	if o == nil {
		return Floor{}
	}
	return Floor{SignedAt: o.OptTime("signedAt"), Keys: o.String("keys")}
}

// appendFrame writes a commit: when, by what program, which facts. Boot id and program are written where they
// changed since the last frame: they are most of the bytes of a small one.
func appendFrame(dst []byte, before *state, code string, now clock.Reading, facts []encodedFact) []byte {
	o := open(dst)
	o.number("v", Schema)
	if code != before.code {
		o.text("code", code)
	}
	if now.BootID == before.boot {
		now.BootID = ""
	}
	o.reading("now", now)
	o.list("facts", len(facts), func(dst []byte, i int) []byte { return append(dst, facts[i]...) })
	return o.close()
}

// frame is a decoded payload whose facts are still to be read, each against the state before it.
type frame struct {
	code  string
	now   clock.Reading
	facts []*strictjson.Object
	root  *strictjson.Object
}

func readFrame(payload []byte) (frame, error) {
	v, err := strictjson.Parse(payload, payloadLimits)
	if err != nil {
		return frame{}, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	o := v.Object()
	f := frame{root: o, code: o.OptString("code"), now: readReading(o.Object("now"))}
	if n := o.Uint64("v"); o.Err() == nil && n != Schema {
		return f, fmt.Errorf("%w: version %d, this program reads %d", ErrFrame, n, Schema)
	}
	f.facts = o.Objects("facts")
	return f, frameErr(o)
}

func frameErr(o *strictjson.Object) error {
	if err := o.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return nil
}

// readFact reads one fact against the state before it.
func readFact(o *strictjson.Object, before *state) (Fact, error) {
	var f Fact
	switch kind := o.OptEnum("fact", "stepped", "captured", "stepped", "fired", "superseded", "pruned", "accounted", "forked"); kind {
	case "stepped":
		return readStepped(o, before)
	case "captured":
		rec, err := wire.DecodeRecord(o.Object("record"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		policy, err := wire.DecodePolicy(o.Object("policy"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		f = Captured{
			Record: rec, Policy: policy, Ticket: optRaw(o, "ticket"), Sig: readBytes(o, "sig"),
			Floor: readFloor(o.OptObject("floor")), Adopted: o.OptBool("adopted"),
		}
	case "fired":
		f = Fired{RolloutID: o.String("rolloutId"), Attempt: o.Uint32("attempt")}
	case "superseded":
		f = Superseded{RolloutID: o.String("rolloutId"), By: o.String("by")}
	case "pruned":
		f = Pruned{RolloutID: o.String("rolloutId")}
	case "accounted":
		f = readAccount(o)
	case "forked":
		f = Forked{Epoch: o.String("epoch")}
	}
	return f, frameErr(o)
}

func readAccount(o *strictjson.Object) Accounted {
	f := Accounted{RolloutID: o.String("rolloutId"), Acked: o.Uint64("acked"), Done: o.Uint64("done"), Base: o.OptUint64("base"), Owed: o.OptBool("owed")}
	for _, d := range o.OptObjects("dead") {
		f.Dead = append(f.Dead, Refused{Seq: d.Uint64("seq"), Status: int(d.Uint32("status")), Reason: d.OptString("reason")})
	}
	return f
}

func readStepped(o *strictjson.Object, before *state) (Fact, error) {
	f := Stepped{RolloutID: o.String("rolloutId")}
	event, delta := o.Object("event"), o.Object("delta")
	if err := frameErr(o); err != nil {
		return nil, err
	}
	var err error
	if f.Seq, f.Event, err = wire.DecodeEvent(event.Raw()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if f.At, err = timeOf(f.Event); err != nil {
		return nil, err
	}
	r := before.rollouts[f.RolloutID]
	if r == nil {
		return nil, fmt.Errorf("%w: no rollout %q", errFact, f.RolloutID)
	}
	if f.Record, err = wire.ApplyDelta(r.rec, delta); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return f, nil
}

// Emitted is one event as the outbound queue sends it.
type Emitted struct {
	RolloutID string
	Seq       uint64
	Kind      string
	Raw       []byte // the exact bytes of the event
}

// EventsOf gives the events that a frame queued, in order. It reads nothing else of the frame.
func EventsOf(payload []byte) ([]Emitted, error) {
	f, err := readFrame(payload)
	if err != nil {
		return nil, err
	}
	var out []Emitted
	for _, o := range f.facts {
		if o.Has("fact") {
			continue
		}
		event := o.Object("event")
		out = append(out, Emitted{RolloutID: o.String("rolloutId"), Seq: event.Uint64("seq"), Kind: event.String("kind"), Raw: append([]byte(nil), event.Raw()...)})
	}
	return out, frameErr(f.root)
}
