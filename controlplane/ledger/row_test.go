package ledger_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/ledger"
)

func chain(t *testing.T, n int) []ledger.Row {
	t.Helper()
	head := ledger.Head{}
	rows := make([]ledger.Row, n)
	for i := range rows {
		rows[i] = ledger.Row{
			At: time.Date(2026, 1, 2, 3, 4, i, 5, time.UTC), Kind: "ProbeResult", Host: "web-1", RolloutID: "stable@r1", EventSeq: uint64(i + 1),
			PolicyHash: "p", Payload: []byte(`{"event": {"seq": 18446744073709551615, "b": "ü\n", "a": 1.50}}`),
		}
		if i%3 == 2 {
			rows[i].Flags = ledger.Late | ledger.Diverged
		}
		var err error
		if head, err = head.Append(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// firstBad returns the index of the first row that does not verify, -1 if all do.
func firstBad(t *testing.T, rows []ledger.Row) int {
	t.Helper()
	head := ledger.Head{}
	for i := range rows {
		if err := ledger.Verify(head, &rows[i]); err != nil {
			if !errors.Is(err, ledger.ErrBrokenChain) {
				t.Fatalf("row %d: %v is not ErrBrokenChain", i, err)
			}
			return i
		}
		head = ledger.Head{Seq: rows[i].Seq, Hash: rows[i].Hash}
	}
	return -1
}

func TestAnUntouchedChainVerifies(t *testing.T) {
	if i := firstBad(t, chain(t, 20)); i >= 0 {
		t.Errorf("row %d does not verify", i)
	}
}

func TestEveryChangedFieldOfARowIsFound(t *testing.T) {
	changes := map[string]func(*ledger.Row){
		"at":         func(r *ledger.Row) { r.At = r.At.Add(1) },
		"kind":       func(r *ledger.Row) { r.Kind = "ProbeResul" },
		"host":       func(r *ledger.Row) { r.Host = "web-2" },
		"rollout":    func(r *ledger.Row) { r.RolloutID = "stable@r2" },
		"event seq":  func(r *ledger.Row) { r.EventSeq++ },
		"policy":     func(r *ledger.Row) { r.PolicyHash = "q" },
		"flags":      func(r *ledger.Row) { r.Flags ^= ledger.Resync },
		"payload":    func(r *ledger.Row) { r.Payload = []byte(strings.Replace(string(r.Payload), "551615", "551614", 1)) },
		"prev":       func(r *ledger.Row) { r.Prev[0] ^= 1 },
		"hash":       func(r *ledger.Row) { r.Hash[31] ^= 1 },
		"seq":        func(r *ledger.Row) { r.Seq++ },
		"rehashed":   func(r *ledger.Row) { r.Host = "evil"; rehash(r) },
		"fields mix": func(r *ledger.Row) { r.Host, r.RolloutID = r.RolloutID, r.Host },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			rows := chain(t, 6)
			change(&rows[3])
			want := 3
			if name == "rehashed" {
				want = 4 // the row itself is consistent again, its successor names another
			}
			if got := firstBad(t, rows); got != want {
				t.Errorf("first bad row is %d, want %d", got, want)
			}
		})
	}
}

func rehash(r *ledger.Row) {
	before := ledger.Head{Seq: r.Seq - 1, Hash: r.Prev}
	if _, err := before.Append(r); err != nil {
		panic(err)
	}
}

func TestDroppedSwappedAndInsertedRowsAreFound(t *testing.T) {
	for i := range 5 {
		rows := chain(t, 6)
		if got := firstBad(t, slices.Delete(slices.Clone(rows), i, i+1)); got != i {
			t.Errorf("dropped %d: first bad is %d", i, got)
		}
		swapped := slices.Clone(rows)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if got := firstBad(t, swapped); got != i {
			t.Errorf("swapped %d: first bad is %d", i, got)
		}
		if got := firstBad(t, slices.Insert(slices.Clone(rows), i, rows[i])); got != i+1 {
			t.Errorf("inserted %d: first bad is %d", i, got)
		}
	}
}

func TestALineReadBackIsTheSameRow(t *testing.T) {
	head := ledger.Head{}
	for _, row := range chain(t, 4) {
		line, err := row.AppendLine(nil)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(line, '\n') {
			t.Errorf("a line feed within %s", line)
		}
		got, err := ledger.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := ledger.Verify(head, &got); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
		head = ledger.Head{Seq: got.Seq, Hash: got.Hash}
	}
}

func TestMalformedLinesAreRefused(t *testing.T) {
	row := chain(t, 1)[0]
	line, err := row.AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "{}", "null", string(line[:len(line)-1]), strings.Replace(string(line), `"flags":[]`, `"flags":["odd"]`, 1),
		strings.Replace(string(line), `"hash":"`, `"hash":"0`, 1), strings.Replace(string(line), `"seq":1,`, `"seq":-1,`, 1),
	} {
		if _, err := ledger.ParseLine([]byte(bad)); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTheCanonicalFormIsThatOfRFC8785ExceptForLargeIntegers(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":[true,null,"\u0041\n\u001f\"\\\/"]}`:                              `{"a":[true,null,"A\n\u001f\"\\/"],"b":1}`,
		`[1.0,1e2,-0,-0.0,4.50,2e-3,1e21,0.000001,333333333.33333329]`:                `[1,100,0,0,4.5,0.002,1e+21,0.000001,333333333.3333333]`,
		`[9007199254740993,18446744073709551615,-9007199254740992]`:                   `[9007199254740993,18446744073709551615,-9007199254740992]`,
		`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`: "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}",
	} {
		got, err := ledger.Canonical([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	row := ledger.Row{
		At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Kind: "ProbeResult", Host: "web-1", RolloutID: "stable@r1", EventSeq: 1, PolicyHash: strings.Repeat("a", 64),
		Payload: []byte(`{"hostname":"web-1","rolloutId":"stable@r1","event":{"kind":"ProbeResult","probeName":"http","mode":"enforce","status":"pass","observedAt":"2026-01-02T03:04:05Z","seq":7},"epoch":"0123456789abcdef0123456789abcdef","signature":"` + strings.Repeat("ab", 64) + `"}`),
	}
	head := ledger.Head{}
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if head, err = head.Append(&row); err != nil {
			b.Fatal(err)
		}
	}
}
