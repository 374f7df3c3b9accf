package wire

import (
	"strconv"
	"time"
)

// object appends the fields of one JSON object. The opt methods write nothing for a zero value.
type object struct {
	buf   []byte
	first bool
}

func open(dst []byte) object { return object{buf: append(dst, '{'), first: true} }

func (o *object) close() []byte { return append(o.buf, '}') }

// key starts a field whose name needs no escaping.
func (o *object) key(name string) {
	if !o.first {
		o.buf = append(o.buf, ',')
	}
	o.first = false
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, name...)
	o.buf = append(o.buf, '"', ':')
}

// name starts a field whose name comes from outside.
func (o *object) name(name string) {
	if !o.first {
		o.buf = append(o.buf, ',')
	}
	o.first = false
	o.buf = append(AppendString(o.buf, name), ':')
}

func (o *object) str(key, v string) {
	o.key(key)
	o.buf = AppendString(o.buf, v)
}

func (o *object) optStr(key, v string) {
	if v != "" {
		o.str(key, v)
	}
}

func (o *object) time(key string, t time.Time) {
	o.key(key)
	o.buf = AppendTime(o.buf, t)
}

func (o *object) optTime(key string, t time.Time) {
	if !t.IsZero() {
		o.time(key, t)
	}
}

func (o *object) uint(key string, n uint64) {
	o.key(key)
	o.buf = strconv.AppendUint(o.buf, n, 10)
}

func (o *object) int(key string, n int64) {
	o.key(key)
	o.buf = strconv.AppendInt(o.buf, n, 10)
}

func (o *object) bool(key string, v bool) {
	o.key(key)
	o.buf = strconv.AppendBool(o.buf, v)
}

func (o *object) null(key string) {
	o.key(key)
	o.buf = append(o.buf, "null"...)
}

// raw writes JSON that is known to be valid.
func (o *object) raw(key string, json []byte) {
	o.key(key)
	o.buf = append(o.buf, json...)
}

func (o *object) strs(key string, list []string) {
	o.key(key)
	o.buf = append(o.buf, '[')
	for i, s := range list {
		o.buf = comma(o.buf, i)
		o.buf = AppendString(o.buf, s)
	}
	o.buf = append(o.buf, ']')
}

// comma appends one before every element but the first.
func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}
