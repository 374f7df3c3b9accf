package wire_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nixfleet/host"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// fataler is what a rapid.T and a testing.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// object reads what an encoder wrote, which must be JSON for encoding/json too.
func object(t fataler, data []byte) *strictjson.Object {
	t.Helper()
	v, err := strictjson.Parse(data, strictjson.DefaultLimits)
	if err != nil || !json.Valid(data) {
		t.Fatalf("%s: %v", data, err)
	}
	return v.Object()
}

// same fails unless what was read is what was written.
func same[T any](t fataler, data []byte, got, want T, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("wrote %+v\nas    %s\nread  %+v, %v", want, data, got, err)
	}
}

func TestEveryEventIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, seq := anyEvent(t), rapid.Uint64().Draw(t, "seq")
		data := wire.AppendEvent(nil, seq, e)
		gotSeq, got, err := wire.DecodeEvent(data)
		same(t, data, got, e, err)
		same(t, data, gotSeq, seq, err)
		origin := rapid.SampledFrom([]host.Origin{host.Local, host.Remote}).Draw(t, "origin")
		data = wire.AppendNamedEvent(nil, origin, seq, e)
		stamped, err := wire.DecodeNamedEvent(object(t, data))
		same(t, data, stamped, host.Stamped{Origin: origin, Seq: seq, Event: e}, err)
	})
}

func TestEveryMessageIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dispatch := draw[wire.Dispatch](t)
		gotDispatch, ok, err := wire.DecodeDispatch(dispatch.Encode())
		same(t, dispatch.Encode(), gotDispatch, dispatch, err)
		if !ok {
			t.Fatal("a dispatch was read as none")
		}
		heartbeat := draw[wire.Heartbeat](t)
		gotHeartbeat, err := wire.DecodeHeartbeat(heartbeat.Encode())
		same(t, heartbeat.Encode(), gotHeartbeat, heartbeat, err)
		answer := draw[wire.HeartbeatAnswer](t)
		gotAnswer, err := wire.DecodeHeartbeatAnswer(answer.Encode())
		same(t, answer.Encode(), gotAnswer, answer, err)
		renew := draw[wire.RenewRequest](t)
		gotRenew, err := wire.DecodeRenewRequest(renew.Encode())
		same(t, renew.Encode(), gotRenew, renew, err)
		cert := draw[wire.EnrollAnswer](t)
		gotCert, err := wire.DecodeEnrollAnswer(cert.Encode())
		same(t, cert.Encode(), gotCert, cert, err)
		problem := draw[wire.Problem](t)
		gotProblem, err := wire.DecodeProblem(problem.Encode())
		same(t, problem.Encode(), gotProblem, problem, err)
		results := rapid.SliceOfN(rapid.Custom(draw[wire.BatchResult]), 1, 4).Draw(t, "results")
		gotResults, err := wire.DecodeBatchResults(wire.EncodeBatchResults(results))
		same(t, wire.EncodeBatchResults(results), gotResults, results, err)
	})
}

func TestAnEnrolmentShowsATokenOrACertificate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := draw[wire.EnrollRequest](t)
		if r.Token != nil {
			r.CertPEM = ""
		}
		got, err := wire.DecodeEnrollRequest(r.Encode())
		same(t, r.Encode(), got, r, err)
	})
}

func TestEnvelopesAndBatchesKeepTheExactBytesOfTheEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var batch [][]byte
		var want []wire.Envelope
		for range rapid.IntRange(0, 3).Draw(t, "envelopes") {
			e := wire.Envelope{Hostname: "h", RolloutID: "stable@abc", Event: anyEvent(t), Seq: rapid.Uint64().Draw(t, "seq"), Epoch: "e", Signature: "00"}
			e.Kind, e.HasAfter = wire.EventKind(e.Event), rapid.Bool().Draw(t, "hasAfter")
			if e.HasAfter {
				e.After = rapid.Uint64().Draw(t, "after")
			}
			batch = append(batch, e.Append(nil))
			e.RawEvent = wire.AppendEvent(nil, e.Seq, e.Event)
			want = append(want, e)
		}
		data := wire.AppendBatch(nil, batch)
		split, err := wire.SplitBatch(data)
		if err != nil || len(split) != len(batch) {
			t.Fatalf("%s: %d envelopes, %v", data, len(split), err)
		}
		for i, raw := range split {
			got, err := wire.DecodeEnvelope(raw)
			same(t, raw, got, want[i], err)
			same(t, raw, got.Append(nil), batch[i], nil)
		}
	})
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := draw[host.Record](t)
		data := wire.AppendRecord(nil, &r)
		got, err := wire.DecodeRecord(object(t, data))
		same(t, data, got, r, err)
		if !got.Equal(&r) {
			t.Fatalf("Equal does not see that %s is the same", data)
		}
		m := wire.RecordMessage{Hostname: r.Hostname, RolloutID: r.RolloutID, Epoch: "e", At: anyTime(t)}
		if rapid.Bool().Draw(t, "with a record") {
			m.Record = &r
		}
		gotMessage, err := wire.DecodeRecordMessage(m.Encode())
		same(t, m.Encode(), gotMessage, m, err)
		s := wire.SnapshotOf(&r)
		answer := wire.HeartbeatAnswer{ReceivedAt: anyTime(t), Bootstrap: []wire.Snapshot{s}}
		gotAnswer, err := wire.DecodeHeartbeatAnswer(answer.Encode())
		same(t, answer.Encode(), gotAnswer, answer, err)
	})
}

func TestADeltaMakesTheNewRecordOfTheOldOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, cur := draw[host.Record](t), draw[host.Record](t)
		if rapid.Bool().Draw(t, "probes alike") { // entries that change in part
			cur.Probes = nil
			for _, p := range old.Probes {
				q := *p
				q.FailureReason, q.Status = rapid.SampledFrom([]string{"", p.FailureReason, "new"}).Draw(t, "reason"), host.Fail
				cur.Probes = append(cur.Probes, &q)
			}
		}
		before := wire.AppendRecord(nil, &old)
		data := wire.RecordDelta(nil, &old, &cur)
		got, err := wire.ApplyDelta(old, object(t, data))
		if err != nil || !got.Equal(&cur) {
			t.Fatalf("from %s\nby   %s\nto   %s\nwant %s, %v", before, data, wire.AppendRecord(nil, &got), wire.AppendRecord(nil, &cur), err)
		}
		if after := wire.AppendRecord(nil, &old); !slices.Equal(before, after) {
			t.Fatalf("the old record changed: %s", after)
		}
		if none := wire.RecordDelta(nil, &cur, &cur); string(none) != "{}" {
			t.Fatalf("no change is %s", none)
		}
		mergesLikeRFC7386(t, before, data, wire.AppendRecord(nil, &cur))
	})
}

// mergesLikeRFC7386 applies the delta as any other program would.
func mergesLikeRFC7386(t fataler, old, delta, want []byte) {
	t.Helper()
	var target, patch, expected any
	for data, v := range map[*[]byte]*any{&old: &target, &delta: &patch, &want: &expected} {
		if err := json.Unmarshal(*data, v); err != nil {
			t.Fatalf("%s: %v", *data, err)
		}
	}
	if got := merge(target, patch); !reflect.DeepEqual(got, expected) {
		t.Fatalf("as a merge patch %s gives %v, want %s", delta, got, want)
	}
}

// merge is the algorithm of RFC 7386, section 2.
func merge(target, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out, ok := target.(map[string]any)
	if !ok {
		out = map[string]any{}
	}
	for name, v := range fields {
		if v == nil {
			delete(out, name)
		} else {
			out[name] = merge(out[name], v)
		}
	}
	return out
}

func TestAPolicyIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := draw[host.Policy](t)
		if p.HasSoak = rapid.Bool().Draw(t, "captured"); p.HasSoak {
			p.WaveSoaks = nil
		} else {
			p.SoakSeconds = 0
		}
		data := wire.AppendPolicy(nil, &p)
		got, err := wire.DecodePolicy(object(t, data))
		same(t, data, got, p, err)
	})
}

func TestEveryEffectIsValidJSONUnderItsOwnName(t *testing.T) {
	for _, e := range host.AllEffects {
		rapid.Check(t, func(t *rapid.T) {
			v := reflect.New(reflect.TypeOf(e)).Elem()
			for i := range v.NumField() {
				if v.Type().Field(i).Type == reflect.TypeFor[host.Payload]() {
					v.Field(i).Set(reflect.ValueOf(host.Payload{Seq: 7, Event: anyEvent(t)}))
				} else if v.Field(i).Kind() == reflect.Float64 {
					v.Field(i).SetFloat(rapid.Float64().Draw(t, "value"))
				} else {
					fill(t, v.Field(i), "")
				}
			}
			effect, ok := v.Interface().(host.Effect)
			if !ok {
				t.Fatalf("%T is no effect", v.Interface())
			}
			o := object(t, wire.AppendEffect(nil, effect))
			if kind := o.String("kind"); kind != v.Type().Name() {
				t.Fatalf("%s is written as %q", v.Type().Name(), kind)
			}
			if o.Has("payload") {
				if _, _, err := wire.DecodeEvent(o.Object("payload").Raw()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestEveryEventTypeHasOneKindAndTwoNames(t *testing.T) {
	names := map[string]bool{}
	for _, e := range host.AllEvents {
		kind := wire.EventKind(e)
		local := object(t, wire.AppendNamedEvent(nil, host.Local, 1, e)).String("kind")
		remote := object(t, wire.AppendNamedEvent(nil, host.Remote, 1, e)).String("kind")
		if want := "Local" + reflect.TypeOf(e).Name(); local != want {
			t.Errorf("%T is called %q on the agent, want %q", e, local, want)
		}
		if want := "Remote" + kind; remote != want {
			t.Errorf("%T is called %q in the mirror, want %q", e, remote, want)
		}
		for _, name := range []string{kind, local, remote} {
			if names[name] {
				t.Errorf("%q names two things", name)
			}
			names[name] = true
		}
	}
}
