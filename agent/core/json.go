package core

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"nixfleet/clock"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// object writes one JSON object, field by field. Frames are written for every commit, so nothing is reflected on.
type object struct {
	buf   []byte
	comma bool
}

func open(dst []byte) *object { return &object{buf: append(dst, '{')} }

func (o *object) close() []byte { return append(o.buf, '}') }

func (o *object) key(name string) *object {
	if o.comma {
		o.buf = append(o.buf, ',')
	}
	o.comma = true
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, name...)
	o.buf = append(o.buf, '"', ':')
	return o
}

func (o *object) text(name, s string) {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		b = []byte(`""`)
	}
	o.raw(name, b)
}

func (o *object) optText(name, s string) {
	if s != "" {
		o.text(name, s)
	}
}

func (o *object) raw(name string, b []byte) {
	o.key(name)
	o.buf = append(o.buf, b...)
}

func (o *object) bytes(name string, b []byte) { o.text(name, base64.StdEncoding.EncodeToString(b)) }

func (o *object) number(name string, n uint64) {
	o.key(name)
	o.buf = strconv.AppendUint(o.buf, n, 10)
}

func (o *object) optNumber(name string, n uint64) {
	if n != 0 {
		o.number(name, n)
	}
}

func (o *object) optTime(name string, t time.Time) {
	if !t.IsZero() {
		o.key(name)
		o.buf = wire.AppendTime(o.buf, t)
	}
}

func (o *object) optTrue(name string, b bool) {
	if b {
		o.raw(name, []byte("true"))
	}
}

// reading writes a reading without its boot id where that is empty.
func (o *object) reading(name string, r clock.Reading) {
	o.key(name)
	in := open(o.buf)
	in.optTime("wall", r.Wall)
	in.number("boottime", uint64(max(r.Boot, 0)))
	in.optText("bootId", r.BootID)
	o.buf = in.close()
}

func (o *object) list(name string, n int, each func(dst []byte, i int) []byte) {
	o.key(name)
	o.buf = append(o.buf, '[')
	for i := range n {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = each(o.buf, i)
	}
	o.buf = append(o.buf, ']')
}

func readReading(o *strictjson.Object) clock.Reading {
	return clock.Reading{Wall: o.OptTime("wall"), Boot: duration(o, "boottime"), BootID: o.OptString("bootId")}
}

// duration reads nanoseconds.
func duration(o *strictjson.Object, key string) time.Duration {
	n := o.OptUint64(key)
	if n > 1<<63-1 {
		o.Fail(key, "%d nanoseconds are too many", n)
		return 0
	}
	return time.Duration(n)
}

func readBytes(o *strictjson.Object, key string) []byte {
	b, err := base64.StdEncoding.DecodeString(o.OptString(key))
	if err != nil {
		o.Fail(key, "want base64: %v", err)
	}
	return b
}

func optRaw(o *strictjson.Object, key string) []byte {
	if !o.Has(key) {
		return nil
	}
	return append([]byte(nil), o.Value(key).Raw...)
}
