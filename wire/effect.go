package wire

import (
	"math"
	"strconv"

	"nixfleet/host"
)

// AppendEffect appends an effect as recordings and replays show it: {"kind": "LocalFireSwitch", ...}. A payload is the
// wire event. Effects are not read back: what they ask for follows from the events.
func AppendEffect(dst []byte, e host.Effect) []byte {
	o := open(dst)
	switch e := e.(type) {
	case host.LocalFireSwitch:
		o.str("kind", "LocalFireSwitch")
		o.str("rolloutId", e.RolloutID)
		o.str("target", e.Target)
	case host.LocalFireRollbackTo:
		o.str("kind", "LocalFireRollbackTo")
		o.str("rolloutId", e.RolloutID)
		o.str("closure", e.Closure)
	case host.LocalResetProbeCache:
		o.str("kind", "LocalResetProbeCache")
		o.str("rolloutId", e.RolloutID)
	case host.LocalEmitEvent:
		o.str("kind", "LocalEmitEvent")
		o.str("rolloutId", e.RolloutID)
		appendPayload(&o, e.Payload)
		o.bool("durable", e.Durable)
	case host.RemoteAppendEventLog:
		o.str("kind", "RemoteAppendEventLog")
		o.str("host", e.Host)
		o.str("rolloutId", e.RolloutID)
		appendPayload(&o, e.Payload)
	case host.RemoteInsertQuarantine:
		o.str("kind", "RemoteInsertQuarantine")
		o.str("channel", e.Channel)
		o.str("closure", e.Closure)
	case host.RecordTransition:
		o.str("kind", "RecordTransition")
		o.str("host", e.Host)
		o.str("rolloutId", e.RolloutID)
		o.str("from", e.From.String())
		o.str("to", e.To.String())
		o.time("at", e.At)
	case host.EmitMetric:
		o.str("kind", "EmitMetric")
		o.str("name", e.Name)
		appendFloat(&o, "value", e.Value)
	case host.EmitLog:
		o.str("kind", "EmitLog")
		o.int("level", int64(e.Level))
		o.str("message", e.Message)
		o.strs("attrs", e.Attrs)
	}
	return o.close()
}

// appendFloat writes null for what JSON has no number for.
func appendFloat(o *object, key string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		o.null(key)
		return
	}
	o.key(key)
	o.buf = strconv.AppendFloat(o.buf, v, 'f', -1, 64)
}

func appendPayload(o *object, p host.Payload) {
	o.key("payload")
	o.buf = AppendEvent(o.buf, p.Seq, p.Event)
}
