package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"

	"nixfleet/host"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// seed adds every golden message and every spoilt event, so that each target starts from all shapes there are.
func seed(f *testing.F) {
	f.Helper()
	golden, err := os.ReadFile("testdata/messages.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range bytes.Lines(golden) {
		if line[0] == '{' {
			f.Add(bytes.TrimSpace(line))
		}
	}
	for _, event := range whole {
		f.Add([]byte(event))
	}
}

// refusedWell fails unless an error is of the class that decoders promise.
func refusedWell(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, wire.ErrMalformed) {
		t.Fatalf("an error of no class: %v", err)
	}
}

// FuzzDecodeEvent: what is read is JSON for encoding/json too, and writing and reading it again gives the same.
func FuzzDecodeEvent(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, e, err := wire.DecodeEvent(data)
		if err != nil {
			refusedWell(t, err)
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is no JSON", data)
		}
		again := wire.AppendEvent(nil, seq, e)
		seq2, e2, err := wire.DecodeEvent(again)
		if err != nil || seq2 != seq || !reflect.DeepEqual(e, e2) {
			t.Fatalf("%s became %s: %v", data, again, err)
		}
	})
}

// FuzzDecodeEnvelope: the raw event is a part of the message and means the event.
func FuzzDecodeEnvelope(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := wire.DecodeEnvelope(data)
		if err != nil {
			refusedWell(t, err)
			return
		}
		seq, event, err := wire.DecodeEvent(e.RawEvent)
		if err != nil || seq != e.Seq || !reflect.DeepEqual(event, e.Event) || !bytes.Contains(data, e.RawEvent) {
			t.Fatalf("%s: raw event %s: %v", data, e.RawEvent, err)
		}
		again, err := wire.DecodeEnvelope(e.Append(nil))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%s became %s: %v", data, e.Append(nil), err)
		}
	})
}

// FuzzBatch: a batch that is split has at most so many envelopes, and put together again it splits alike.
func FuzzBatch(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		envelopes, err := wire.SplitBatch(data)
		if err != nil {
			refusedWell(t, err)
			return
		}
		if len(envelopes) > wire.MaxBatch {
			t.Fatalf("%d envelopes", len(envelopes))
		}
		again, err := wire.SplitBatch(wire.AppendBatch(nil, envelopes))
		if err != nil || !reflect.DeepEqual(again, envelopes) {
			t.Fatalf("%s: %v", data, err)
		}
	})
}

// FuzzDecodeRecord: a record that is read is written the same way ever after, and Check and Step take it as it is.
func FuzzDecodeRecord(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := strictjson.Parse(data, strictjson.DefaultLimits)
		if err != nil || v.Kind != strictjson.Map {
			return
		}
		r, err := wire.DecodeRecord(v.Object())
		if err != nil {
			refusedWell(t, err)
			return
		}
		text := wire.AppendRecord(nil, &r)
		again, err := wire.DecodeRecord(object(t, text))
		if err != nil || !again.Equal(&r) || !bytes.Equal(wire.AppendRecord(nil, &again), text) {
			t.Fatalf("%s became %s: %v", data, text, err)
		}
		if err := host.Check(&r); err != nil && !errors.Is(err, host.ErrInvariant) {
			t.Fatalf("Check gave an error of no class: %v", err)
		}
		for _, e := range host.AllEvents {
			next, _, err := host.Step(r, host.Stamped{Seq: r.LastEventSeq + 1, Event: e}, r.DispatchedAt, host.Policy{})
			if err != nil && !next.Equal(&r) {
				t.Fatalf("%T refused, yet the record changed", e)
			}
		}
	})
}

// FuzzDelta: whatever is applied to a record gives one that the difference of the two leads to as well.
func FuzzDelta(f *testing.F) {
	seed(f)
	base := goldenRecord()
	text := wire.AppendRecord(nil, &base)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := strictjson.Parse(data, strictjson.DefaultLimits)
		if err != nil || v.Kind != strictjson.Map {
			return
		}
		cur, err := wire.ApplyDelta(base, v.Object())
		if !bytes.Equal(wire.AppendRecord(nil, &base), text) {
			t.Fatalf("%s changed the record it was applied to", data)
		}
		if err != nil {
			refusedWell(t, err)
			return
		}
		delta := wire.RecordDelta(nil, &base, &cur)
		again, err := wire.ApplyDelta(base, object(t, delta))
		if err != nil || !again.Equal(&cur) {
			t.Fatalf("%s became %s: %v", data, delta, err)
		}
	})
}

// FuzzMessages puts anything before every other decoder: none may do more than refuse it, and what is read is written
// and read again as it was.
func FuzzMessages(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		again(t, data, wire.DecodeHeartbeat, func(h wire.Heartbeat) []byte { return h.Encode() })
		again(t, data, wire.DecodeHeartbeatAnswer, func(a wire.HeartbeatAnswer) []byte { return a.Encode() })
		again(t, data, wire.DecodeRecordMessage, func(m wire.RecordMessage) []byte { return m.Encode() })
		again(t, data, wire.DecodeBatchResults, wire.EncodeBatchResults)
		again(t, data, wire.DecodeProblem, wire.Problem.Encode)
		again(t, data, wire.DecodeEnrollRequest, func(r wire.EnrollRequest) []byte { return r.Encode() })
		again(t, data, wire.DecodeEnrollAnswer, func(a wire.EnrollAnswer) []byte { return a.Encode() })
		again(t, data, wire.DecodeRenewRequest, func(r wire.RenewRequest) []byte { return r.Encode() })
		again(t, data, decodeAnyDispatch, func(d *wire.Dispatch) []byte {
			if d == nil {
				return []byte("null")
			}
			return d.Encode()
		})
	})
}

// decodeAnyDispatch gives nil for none.
func decodeAnyDispatch(data []byte) (*wire.Dispatch, error) {
	d, ok, err := wire.DecodeDispatch(data)
	if err != nil || !ok {
		return nil, err
	}
	return &d, nil
}

func again[T any](t *testing.T, data []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	t.Helper()
	v, err := decode(data)
	if err != nil {
		refusedWell(t, err)
		return
	}
	first := encode(v)
	w, err := decode(first)
	if err != nil || !bytes.Equal(encode(w), first) {
		t.Fatalf("%s became %s: %v", data, first, err)
	}
}
