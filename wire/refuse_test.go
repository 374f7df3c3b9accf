package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"nixfleet/host"
	"nixfleet/wire"
)

// whole is one event of every kind with every field, as an agent writes it.
var whole = []string{
	`{"kind":"DispatchAck","currentClosureAtDispatch":"o","receivedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ActivationStarted","startedAt":"2026-03-01T12:00:00Z","switchMethod":"unit","seq":1}`,
	`{"kind":"ActivationCompleted","observedCurrentClosure":"n","exitCode":0,"completedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ActivationDeferred","component":"init","deferredAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ActivationFailed","exitCode":-1,"stderrTail":"","failedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ProbeTopologyDeclared","probes":[],"declaredAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ProbeObservedFirst","probeName":"p","mode":"enforce","observedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ProbeResult","probeName":"p","mode":"observe","status":"pass","observedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"ProbeFailureFirst","probeName":"p","mode":"disabled","firstFailedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"Failed","failedAt":"2026-03-01T12:00:00Z","sustainedDurationSecs":120,"failingProbes":["p"],"policyApplied":"halt","seq":1}`,
	`{"kind":"RollbackComplete","revertedToClosure":"o","exitCode":0,"completedAt":"2026-03-01T12:00:00Z","seq":1}`,
	`{"kind":"RollbackFailed","exitCode":1,"stderrTail":"no","failedAt":"2026-03-01T12:00:00Z","attempt":1,"seq":1}`,
	`{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","seq":1}`,
}

// members splits a flat event into its members.
func members(t *testing.T, event string) (names []string, values map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(event), &values); err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	o := object(t, []byte(event))
	return o.Keys(), values
}

// with writes the event again with one member under another name or with another value; a nil value leaves it out.
func with(names []string, values map[string]json.RawMessage, name, as string, value []byte) []byte {
	var parts []string
	for _, n := range names {
		switch {
		case n != name:
			parts = append(parts, fmt.Sprintf("%q:%s", n, values[n]))
		case value != nil:
			parts = append(parts, fmt.Sprintf("%q:%s", as, value))
		}
	}
	return []byte("{" + strings.Join(parts, ",") + "}")
}

func refused(t *testing.T, what string, event []byte) {
	t.Helper()
	if _, _, err := wire.DecodeEvent(event); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("%s: %s gave %v", what, event, err)
	}
}

func TestEveryRequiredFieldOfEveryEventIsRequired(t *testing.T) {
	if len(whole) != len(host.AllEvents) {
		t.Fatalf("%d events to spoil, there are %d", len(whole), len(host.AllEvents))
	}
	for _, event := range whole {
		if _, _, err := wire.DecodeEvent([]byte(event)); err != nil {
			t.Errorf("%s: %v", event, err)
		}
		names, values := members(t, event)
		for _, name := range names {
			refused(t, "missing "+name, with(names, values, name, name, nil))
			refused(t, "null "+name, with(names, values, name, name, []byte("null")))
			refused(t, "upper case "+name, with(names, values, name, strings.ToUpper(name), values[name]))
			refused(t, "object for "+name, with(names, values, name, name, []byte("{}")))
			refused(t, "twice "+name, []byte(strings.Replace(event, "{", fmt.Sprintf("{%q:%s,", name, values[name]), 1)))
			if values[name][0] == '"' {
				refused(t, "lone surrogate in "+name, with(names, values, name, name, []byte(`"\udc00"`)))
				refused(t, "number for "+name, with(names, values, name, name, []byte("1")))
			}
			if values[name][0] >= '0' && values[name][0] <= '9' {
				for _, n := range []string{"1.0", "1e0", "-9223372036854775809", "18446744073709551616", `"1"`, "true", "1.5"} {
					refused(t, n+" for "+name, with(names, values, name, name, []byte(n)))
				}
			}
			if strings.HasSuffix(name, "At") {
				for _, at := range badTimes {
					refused(t, at+" for "+name, with(names, values, name, name, []byte(`"`+at+`"`)))
				}
			}
		}
	}
}

var badTimes = []string{
	"", "2026-03-01T12:00:00", "2026-03-01", "2026-03-01 12:00:00Z", "2026-03-01T12:00:00,5Z", "2026-03-01T1:00:00Z",
	"2026-02-30T12:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T12:00:00+24:00", "2026-03-01T12:00:00+01:60",
	"2026-03-01T12:00:00+0100", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "1772366400",
}

func TestWhatIsWrongInOtherWaysIsRefused(t *testing.T) {
	for what, event := range map[string]string{
		"unknown kind":                           `{"kind":"Rebooted","seq":1}`,
		"kind in the wrong case":                 `{"kind":"converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","seq":1}`,
		"unknown mode":                           `{"kind":"ProbeObservedFirst","probeName":"p","mode":"Enforce","observedAt":"2026-03-01T12:00:00Z","seq":1}`,
		"unknown status":                         `{"kind":"ProbeResult","probeName":"p","mode":"observe","status":"ok","observedAt":"2026-03-01T12:00:00Z","seq":1}`,
		"no policy":                              `{"kind":"Failed","failedAt":"2026-03-01T12:00:00Z","sustainedDurationSecs":120,"failingProbes":[],"policyApplied":"","seq":1}`,
		"null among names":                       `{"kind":"Failed","failedAt":"2026-03-01T12:00:00Z","sustainedDurationSecs":120,"failingProbes":[null],"policyApplied":"halt","seq":1}`,
		"null among probes":                      `{"kind":"ProbeTopologyDeclared","probes":[null],"declaredAt":"2026-03-01T12:00:00Z","seq":1}`,
		"a probe without a mode":                 `{"kind":"ProbeTopologyDeclared","probes":[{"probeName":"p","kind":"http"}],"declaredAt":"2026-03-01T12:00:00Z","seq":1}`,
		"a probe without a name":                 `{"kind":"ProbeResult","probeName":"","mode":"observe","status":"pass","observedAt":"2026-03-01T12:00:00Z","seq":1}`,
		"duplicate key deep in an unknown field": `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","x":[{"a":1,"a":1}],"seq":1}`,
		"exit code beyond 32 bits":               `{"kind":"RollbackComplete","revertedToClosure":"o","exitCode":2147483648,"completedAt":"2026-03-01T12:00:00Z","seq":1}`,
		"attempt beyond 32 bits":                 `{"kind":"RollbackFailed","exitCode":1,"stderrTail":"no","failedAt":"2026-03-01T12:00:00Z","attempt":4294967296,"seq":1}`,
		"effective mode unknown":                 `{"kind":"ProbeResult","probeName":"p","mode":"observe","status":"pass","observedAt":"2026-03-01T12:00:00Z","subResults":[{"controlId":"c","status":"pass","framework":"f","effectiveMode":"on"}],"seq":1}`,
		"null among subresults":                  `{"kind":"ProbeResult","probeName":"p","mode":"observe","status":"pass","observedAt":"2026-03-01T12:00:00Z","subResults":[null],"seq":1}`,
		"carried wave beyond 32 bits":            `{"kind":"DispatchAck","currentClosureAtDispatch":"o","receivedAt":"2026-03-01T12:00:00Z","wave":4294967296,"seq":1}`,
		"carried time without an offset":         `{"kind":"DispatchAck","currentClosureAtDispatch":"o","receivedAt":"2026-03-01T12:00:00Z","soakDueAt":"2026-03-01T12:00:00","seq":1}`,
		"two values":                             `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","seq":1} {}`,
		"trailing comma":                         `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","seq":1,}`,
		"a number with leading zeros":            `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","seq":01}`,
		"not an object":                          `[]`,
		"nothing":                                ``,
		"invalid UTF-8":                          "{\"kind\":\"Converged\",\"convergedAt\":\"2026-03-01T12:00:00Z\",\"currentClosure\":\"\xff\",\"seq\":1}",
		"invalid UTF-8 in an unknown field":      "{\"kind\":\"Converged\",\"convergedAt\":\"2026-03-01T12:00:00Z\",\"currentClosure\":\"n\",\"x\":\"\xc3\",\"seq\":1}",
		"a closure too long":                     `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"` + strings.Repeat("n", wire.MaxClosure+1) + `","seq":1}`,
		"a text too long":                        `{"kind":"ActivationFailed","exitCode":1,"stderrTail":"` + strings.Repeat("n", wire.MaxText+1) + `","failedAt":"2026-03-01T12:00:00Z","seq":1}`,
		"too many probes":                        `{"kind":"ProbeTopologyDeclared","probes":[{}` + strings.Repeat(",{}", wire.MaxProbes) + `],"declaredAt":"2026-03-01T12:00:00Z","seq":1}`,
		"a body too long":                        `{"x":"` + strings.Repeat("x", wire.MaxBody) + `"}`,
		"nested too deeply":                      `{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
	} {
		refused(t, what, []byte(event))
	}
}

func TestWhatIsAllowedIsRead(t *testing.T) {
	for what, event := range map[string]string{
		"unknown fields":            `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"n","x":{"y":null},"seq":1}`,
		"null for optional fields":  `{"kind":"DispatchAck","currentClosureAtDispatch":"","receivedAt":"2026-03-01T12:00:00Z","policyHash":null,"wave":null,"dispatchedAt":null,"targetClosure":null,"soakDueAt":null,"seq":1}`,
		"any offset":                `{"kind":"Converged","convergedAt":"2026-03-01T17:30:00.123456789+05:30","currentClosure":"n","seq":1}`,
		"escapes and pairs":         `{"kind":"Converged","convergedAt":"2026-03-01T12:00:00Z","currentClosure":"\ud83d\ude00\u00e9\/","seq":1}`,
		"the largest numbers":       `{"kind":"RollbackFailed","exitCode":-2147483648,"stderrTail":"","failedAt":"2026-03-01T12:00:00Z","attempt":4294967295,"seq":18446744073709551615}`,
		"the order of another hand": ` { "seq" : 1 , "currentClosure" : "n" , "convergedAt" : "2026-03-01T12:00:00Z" , "kind" : "Converged" } `,
	} {
		if _, _, err := wire.DecodeEvent([]byte(event)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSubResultsWithoutAModeAreEnforced(t *testing.T) {
	_, e, err := wire.DecodeEvent([]byte(`{"kind":"ProbeResult","probeName":"p","mode":"observe","status":"fail","observedAt":"2026-03-01T12:00:00Z","subResults":[{"controlId":"c","status":"fail","framework":"f"}],"seq":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if out := wire.AppendEvent(nil, 1, e); !bytes.Contains(out, []byte(`"effectiveMode":"enforce"`)) {
		t.Errorf("written as %s", out)
	}
}

func TestStringsAreSpelledAsEncodingJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "text") {
			s = anyText(t)
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := wire.AppendString(nil, s); string(got) != strings.TrimSuffix(want.String(), "\n") {
			t.Fatalf("%q is written as %s, want %s", s, got, want.String())
		}
	})
}

func TestTextIsCutOnARuneWithinItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + strings.Repeat("é", rapid.IntRange(0, 40).Draw(t, "more"))
		bound := rapid.IntRange(len(wire.Truncated)+4, 60).Draw(t, "bound")
		head, tail := wire.Text(s, bound), wire.Tail(s, bound)
		if !utf8.ValidString(head) || !utf8.ValidString(tail) || len(head) > bound || len(tail) > bound {
			t.Fatalf("%q within %d: %q and %q", s, bound, head, tail)
		}
		valid := strings.ToValidUTF8(s, "\ufffd")
		if len(valid) <= bound {
			if head != valid || tail != valid {
				t.Fatalf("%q fits, but became %q and %q", s, head, tail)
			}
			return
		}
		kept, cut := strings.CutSuffix(head, wire.Truncated)
		if !cut || !strings.HasPrefix(valid, kept) || !strings.HasSuffix(valid, tail) || len(tail) < bound-3 {
			t.Fatalf("%q within %d: %q and %q", s, bound, head, tail)
		}
	})
}

func TestMessagesThatContradictThemselvesAreRefused(t *testing.T) {
	record := `{"rolloutId":"stable@abc","hostname":"web-01","channel":"stable","state":"Pending","targetClosure":"n","dispatchedAt":"2026-03-01T12:00:00Z","lastEventSeq":0}`
	decodeRecord := func(b []byte) error { _, err := wire.DecodeRecordMessage(b); return err }
	enroll := func(b []byte) error { _, err := wire.DecodeEnrollRequest(b); return err }
	results := func(b []byte) error { _, err := wire.DecodeBatchResults(b); return err }
	batch := func(b []byte) error { _, err := wire.SplitBatch(b); return err }
	envelope := func(b []byte) error { _, err := wire.DecodeEnvelope(b); return err }
	beat := func(b []byte) error { _, err := wire.DecodeHeartbeat(b); return err }
	dispatch := func(b []byte) error { _, _, err := wire.DecodeDispatch(b); return err }
	for _, c := range []struct {
		what, message string
		decode        func([]byte) error
		fine          bool
	}{
		{"a record", `{"hostname":"web-01","rolloutId":"stable@abc","record":` + record + `,"epoch":"e","at":"2026-03-01T12:00:00Z"}`, decodeRecord, true},
		{"no record", `{"hostname":"web-01","rolloutId":"stable@abc","record":null,"epoch":"e","at":"2026-03-01T12:00:00Z"}`, decodeRecord, true},
		{"record not said", `{"hostname":"web-01","rolloutId":"stable@abc","epoch":"e","at":"2026-03-01T12:00:00Z"}`, decodeRecord, false},
		{"record of another host", `{"hostname":"web-02","rolloutId":"stable@abc","record":` + record + `,"epoch":"e","at":"2026-03-01T12:00:00Z"}`, decodeRecord, false},
		{"record of another rollout", `{"hostname":"web-01","rolloutId":"stable@abd","record":` + record + `,"epoch":"e","at":"2026-03-01T12:00:00Z"}`, decodeRecord, false},
		{"token", `{"token":{"version":1},"csrPem":"c"}`, enroll, true},
		{"token as text", `{"token":"t","csrPem":"c"}`, enroll, false},
		{"token and certificate", `{"token":{},"certPem":"c","csrPem":"c"}`, enroll, false},
		{"neither", `{"csrPem":"c"}`, enroll, false},
		{"skipped", `{"results":[{"rolloutId":"stable@abc","seq":1,"status":"skipped"}]}`, results, true},
		{"another word", `{"results":[{"rolloutId":"stable@abc","seq":1,"status":"done"}]}`, results, false},
		{"no status at all", `{"results":[{"rolloutId":"stable@abc","seq":1}]}`, results, false},
		{"no HTTP status", `{"results":[{"rolloutId":"stable@abc","seq":1,"status":0}]}`, results, false},
		{"a full batch", `{"events":[{}` + strings.Repeat(",{}", wire.MaxBatch-1) + `]}`, batch, true},
		{"a batch too large", `{"events":[{}` + strings.Repeat(",{}", wire.MaxBatch) + `]}`, batch, false},
		{"null in a batch", `{"events":[null]}`, batch, false},
		{"empty hostname", `{"hostname":"","rolloutId":"stable@abc","event":` + whole[0] + `}`, envelope, false},
		{"hostname too long", `{"hostname":"` + strings.Repeat("h", wire.MaxHostname+1) + `","rolloutId":"stable@abc","event":` + whole[0] + `}`, envelope, false},
		{"no event", `{"hostname":"h","rolloutId":"stable@abc"}`, envelope, false},
		{"after as text", `{"hostname":"h","rolloutId":"stable@abc","event":` + whole[0] + `,"after":"1"}`, envelope, false},
		{"null optionals", `{"hostname":"h","rolloutId":"stable@abc","event":` + whole[0] + `,"after":null,"epoch":null,"signature":null}`, envelope, true},
		{"an original's heartbeat", `{"hostname":"h","at":"2026-03-01T12:00:00Z","rollout_id":null}`, beat, true},
		{"heartbeat without its time", `{"hostname":"h"}`, beat, false},
		{"negative seq in a heartbeat", `{"hostname":"h","at":"2026-03-01T12:00:00Z","acked_seq_by_rollout":{"stable@abc":-1}}`, beat, false},
		{"unknown status in a heartbeat", `{"hostname":"h","at":"2026-03-01T12:00:00Z","probes":{"p":"Pass"}}`, beat, false},
		{"no dispatch", " null\n", dispatch, true},
		{"an original's dispatch", `{"hostname":"h","rollout_id":"stable@abc","target_closure":"n","soak_due_at":"2026-03-01T12:00:00Z","enqueued_at":"2026-03-01T12:00:00Z"}`, dispatch, true},
		{"dispatch of nothing", `{"hostname":"h","rollout_id":"stable@abc","target_closure":"","soak_due_at":"2026-03-01T12:00:00Z","enqueued_at":"2026-03-01T12:00:00Z"}`, dispatch, false},
	} {
		err := c.decode([]byte(c.message))
		if c.fine != (err == nil) || err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestRecordsAndDeltasAreReadStrictly(t *testing.T) {
	base := host.Record{RolloutID: "stable@abc", Hostname: "h", Channel: "stable", TargetClosure: "n", DispatchedAt: time.Unix(1, 0).UTC()}
	for delta, fine := range map[string]bool{
		`{}`:                                 true,
		`{"wave":null,"probes":null,"x":1}`:  true,
		`{"hostname":null}`:                  false,
		`{"state":"soaking"}`:                false,
		`{"lastEventSeq":1.0}`:               false,
		`{"probes":{"p":{"status":"pass"}}}`: false, // a new entry must be whole
		`{"probes":{"":null}}`:               false,
		`{"probes":[]}`:                      false,
		`{"declaredProbes":{"p":"on"}}`:      false,
		`{"declaredProbes":{"p":null}}`:      true,
		`{"policyApplied":""}`:               false,
	} {
		got, err := wire.ApplyDelta(base, object(t, []byte(delta)))
		if fine != (err == nil) || err != nil && (!errors.Is(err, wire.ErrMalformed) || !got.Equal(&base)) {
			t.Errorf("%s: %v", delta, err)
		}
	}
	names, values := members(t, string(wire.AppendRecord(nil, &base)))
	for _, name := range []string{"rolloutId", "hostname", "channel", "state", "targetClosure", "dispatchedAt", "lastEventSeq"} {
		if _, err := wire.DecodeRecord(object(t, with(names, values, name, name, nil))); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("a record without %s: %v", name, err)
		}
	}
	for _, name := range []string{"wave", "rollbackAttempts", "probes"} {
		if got, err := wire.DecodeRecord(object(t, with(names, values, name, name, nil))); err != nil || !got.Equal(&base) {
			t.Errorf("a record without %s: %v", name, err)
		}
	}
}

func TestPoliciesAreReadStrictlyWithTheirDefaults(t *testing.T) {
	p, err := wire.DecodePolicy(object(t, []byte(`{"strategy":"waves","waves":[{"selector":{},"soakMinutes":5},{"soakMinutes":5,"soakSeconds":7},{"soakMinutes":18446744073709551615}],"onHealthFailure":"halt","healthGate":{"systemd":{"maxFailedUnits":0}}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if p.Soak(0) != 5*time.Minute || p.Soak(1) != 7*time.Second || p.Soak(9) != host.MaxSoakSeconds/60*60*time.Second {
		t.Errorf("soaks %s, %s and %s", p.Soak(0), p.Soak(1), p.Soak(9))
	}
	if p.Sustained() != 120*time.Second || p.ActivationTimeout() != 10*time.Minute || string(p.HealthGate) != `{"systemd":{"maxFailedUnits":0}}` {
		t.Errorf("read as %+v", p)
	}
	for _, bad := range []string{
		`{}`, `{"onHealthFailure":"rollback"}`, `{"onHealthFailure":"halt","waves":[{}]}`, `{"onHealthFailure":"halt","waves":[null]}`,
		`{"onHealthFailure":"halt","soakSeconds":-1}`, `{"onHealthFailure":"halt","sustainedFailureSeconds":1.5}`,
	} {
		if _, err := wire.DecodePolicy(object(t, []byte(bad))); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFeaturesAreAList(t *testing.T) {
	f := wire.ParseFeatures(" batch,rollback-failed , x")
	if !f.Has(wire.FeatureBatch) || !f.Has(wire.FeatureRollbackFailed) || f.Has(wire.FeatureRecord) || f.Has("roll") {
		t.Error("wrong")
	}
	all := wire.ParseFeatures(wire.AllFeatures)
	for _, feature := range []string{wire.FeatureBatch, wire.FeatureRecord, wire.FeatureRollbackFailed, wire.FeatureTickets} {
		if !all.Has(feature) {
			t.Errorf("all of them lack %s", feature)
		}
	}
	if wire.ParseFeatures("").Has(wire.FeatureBatch) {
		t.Error("no header has a feature")
	}
	if wire.ParseFeatures(strings.Repeat("x,", 1000) + wire.FeatureBatch).Has(wire.FeatureBatch) {
		t.Error("a header beyond the bound was read")
	}
}
