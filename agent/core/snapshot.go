package core

import (
	"fmt"
	"slices"

	"nixfleet/host"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// Snapshot gives everything the core knows as one payload: it stands for every frame so far.
func (c *Core) Snapshot() []byte {
	s := c.st
	o := open(nil)
	o.number("v", Schema)
	o.text("code", c.code)
	o.text("hostname", c.hostname)
	o.text("epoch", s.epoch)
	o.reading("last", s.last)
	o.reading("switched", s.switched)
	o.raw("floor", s.floor.append(nil))
	o.optNumber("cursorSegment", s.cursor.Segment)
	o.optNumber("cursorOffset", uint64(s.cursor.Offset))
	o.list("rollouts", len(s.order), func(dst []byte, i int) []byte { return s.rollouts[s.order[i]].append(dst) })
	return o.close()
}

func (r *rollout) append(dst []byte) []byte {
	o := open(dst)
	o.raw("record", wire.AppendRecord(nil, &r.rec))
	o.raw("policy", wire.AppendPolicy(nil, &r.policy))
	o.raw("ticket", r.ticket)
	o.bytes("sig", r.sig)
	appendAccount(o, &Accounted{Acked: r.acked, Done: r.done, Base: r.base, Dead: r.dead, Owed: r.owed})
	o.optNumber("fires", uint64(r.fires))
	o.optNumber("settled", uint64(r.settled))
	o.optNumber("soaked", uint64(r.soaked))
	o.optNumber("streaked", uint64(r.streaked))
	o.optNumber("waited", uint64(r.waited))
	o.optTime("lastAt", r.lastAt)
	o.optText("deferredBoot", r.deferredBoot)
	return o.close()
}

func readSnapshot(payload []byte) (*state, error) {
	v, err := strictjson.Parse(payload, payloadLimits)
	if err != nil {
		return nil, fmt.Errorf("%w: snapshot: %w", ErrFrame, err)
	}
	o := v.Object()
	if n := o.Uint64("v"); o.Err() == nil && n != Schema {
		return nil, fmt.Errorf("%w: snapshot of version %d, this program reads %d", ErrFrame, n, Schema)
	}
	s := newState()
	s.code, s.epoch = o.OptString("code"), o.String("epoch")
	s.last, s.switched = readReading(o.Object("last")), readReading(o.Object("switched"))
	s.boot = s.last.BootID
	s.floor = readFloor(o.OptObject("floor"))
	s.cursor = Place{Segment: o.OptUint64("cursorSegment"), Offset: int64(min(o.OptUint64("cursorOffset"), 1<<62))}
	for _, ro := range o.Objects("rollouts") {
		r, err := readRollout(ro)
		if err != nil {
			return nil, err
		}
		id := r.rec.RolloutID
		if slices.Contains(s.order, id) {
			return nil, fmt.Errorf("%w: snapshot has %q twice", ErrFrame, id)
		}
		s.rollouts[id], s.order = r, append(s.order, id)
	}
	return s, frameErr(o)
}

func readRollout(o *strictjson.Object) (*rollout, error) {
	rec, err := wire.DecodeRecord(o.Object("record"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	policy, err := wire.DecodePolicy(o.Object("policy"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	rec.RolloutID = recordID(o, rec)
	account := Accounted{Acked: o.Uint64("acked"), Done: o.Uint64("done"), Base: o.OptUint64("base"), Owed: o.OptBool("owed")}
	for _, d := range o.OptObjects("dead") {
		account.Dead = append(account.Dead, Refused{Seq: d.Uint64("seq"), Status: int(d.Uint32("status")), Reason: d.OptString("reason")})
	}
	r := &rollout{
		rec: rec, policy: policy, ticket: optRaw(o, "ticket"), sig: readBytes(o, "sig"),
		acked: account.Acked, done: account.Done, base: account.Base, dead: account.Dead, owed: account.Owed,
		fires: o.OptUint32("fires"), settled: o.OptUint32("settled"),
		soaked: duration(o, "soaked"), streaked: duration(o, "streaked"), waited: duration(o, "waited"),
		lastAt: o.OptTime("lastAt"), deferredBoot: o.OptString("deferredBoot"),
	}
	return r, frameErr(o)
}

func recordID(o *strictjson.Object, rec host.Record) string {
	if rec.RolloutID == "" {
		o.Fail("record", "has no rolloutId")
	}
	return rec.RolloutID
}
