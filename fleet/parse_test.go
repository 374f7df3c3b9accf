package fleet_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/strictjson"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEveryFieldOfAFleetIsRead(t *testing.T) {
	f, err := fleet.ParseFleet(golden(t, "fleet.json"))
	if err != nil {
		t.Fatal(err)
	}
	two, half, none := uint32(2), uint32(50), uint64(0)
	want := &fleet.Fleet{
		SchemaVersion: 1,
		Hosts: map[string]fleet.Host{
			"web-01": {System: "x86_64-linux", Tags: []string{"web", "canary"}, Channel: "stable", ClosureHash: "abc-nixos", Pubkey: pubkey},
			"web-02": {System: "x86_64-linux", Tags: []string{"web"}, Channel: "stable", ClosureHash: "abc-nixos", Pin: &fleet.Pin{
				Commit: "c0ffee", Reason: "waiting for a disk", ExpiresAt: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
			}},
			"lab": {System: "aarch64-linux", Channel: "edge"},
		},
		Channels: map[string]fleet.Channel{
			"stable": {RolloutPolicy: "canary", ReconcileIntervalMinutes: 5, FreshnessWindow: 1440, SigningIntervalMinutes: 60, Compliance: []byte(`{"mode": "enforce"}`)},
			"edge":   {RolloutPolicy: "canary", FreshnessWindow: 60},
		},
		RolloutPolicies: map[string]fleet.RolloutPolicy{
			"canary": {
				Strategy: "canary", HealthGate: []byte(`{"probes": ["http"]}`), OnHealthFailure: host.RollbackAndHalt,
				SustainedFailureSeconds: 90, ActivationTimeoutSeconds: 600,
				Waves: []fleet.PolicyWave{
					{Selector: fleet.Selector{Tags: []string{"canary"}, TagsAny: []string{"a", "b"}, Hosts: []string{"x"}, Channel: "edge"}, SoakMinutes: 30},
					{Selector: fleet.Selector{All: true}, SoakMinutes: 10, SoakSeconds: &none},
				},
			},
		},
		Waves: map[string][]fleet.Wave{
			"stable": {{Hosts: []string{"web-01"}, SoakMinutes: 30}, {Hosts: []string{"web-02"}, SoakMinutes: 10, SoakSeconds: &none}},
		},
		Edges: []fleet.Edge{{Gated: "web-02", Gates: "web-01", Reason: "one at a time"}},
		ChannelEdges: []fleet.ChannelEdge{
			{Gates: "edge", Gated: "stable", Reason: "edge first"},
			{Gates: "edge", Gated: "stable"},
		},
		DisruptionBudgets: []fleet.Budget{{Selector: fleet.Selector{Tags: []string{"web"}}, MaxInFlight: &two, MaxInFlightPct: &half}},
		ChannelRefs:       map[string]string{"stable": "c0ffee"},
		Meta: fleet.Meta{
			SchemaVersion: 1, SignedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CICommit: "c0ffee", SignatureAlgorithm: "ed25519",
		},
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
}

// edited returns the golden document with one path set to raw JSON, or removed if raw is "".
func edited(t *testing.T, doc []byte, path []string, raw string) []byte {
	t.Helper()
	var tree any
	if err := json.Unmarshal(doc, &tree); err != nil {
		t.Fatal(err)
	}
	at := tree
	for _, key := range path[:len(path)-1] {
		if list, ok := at.([]any); ok {
			at = list[0]
			continue
		}
		at = at.(map[string]any)[key]
	}
	last := path[len(path)-1]
	if raw == "" {
		delete(at.(map[string]any), last)
	} else {
		at.(map[string]any)[last] = json.RawMessage(raw)
	}
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type refusal struct{ path, value string }

func checkRefusals(t *testing.T, doc []byte, parse func([]byte) error, refusals []refusal) {
	t.Helper()
	if err := parse(doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range refusals {
		err := parse(edited(t, doc, strings.Split(r.path, "/"), r.value))
		var where *strictjson.Error
		if !errors.Is(err, fleet.ErrDocument) || !errors.As(err, &where) {
			t.Errorf("%s = %q: %v, want a refusal that says where", r.path, r.value, err)
			continue
		}
		last := r.path[strings.LastIndexByte(r.path, '/')+1:]
		if !strings.Contains(where.Path, last) && where.Path != "" {
			t.Errorf("%s = %q: the error names %q", r.path, r.value, where.Path)
		}
	}
}

func TestAFleetIsRefusedForItsForm(t *testing.T) {
	long := `"` + strings.Repeat("x", 2000) + `"`
	checkRefusals(t, golden(t, "fleet.json"), func(d []byte) error { _, err := fleet.ParseFleet(d); return err }, []refusal{
		{"schemaVersion", ""},
		{"schemaVersion", "null"},
		{"schemaVersion", "1.0"},
		{"schemaVersion", `"1"`},
		{"hosts", ""},
		{"hosts", "null"},
		{"hosts", "[]"},
		{"hosts/lab", "null"},
		{"hosts/lab", `"x"`},
		{"hosts/-lab", `{"channel":"edge"}`},
		{"hosts/lab/channel", ""},
		{"hosts/lab/channel", `""`},
		{"hosts/lab/channel", long},
		{"hosts/lab/tags", `["a", null]`},
		{"hosts/lab/tags", `"a"`},
		{"hosts/lab/tags", `[""]`},
		{"hosts/lab/closureHash", `"../x"`},
		{"hosts/lab/closureHash", `1`},
		{"hosts/lab/pubkey", long},
		{"hosts/lab/pin", `{"commit":"x"}`},
		{"hosts/lab/pin", `{"commit":"x","reason":"y","expiresAt":"tomorrow"}`},
		{"channels", ""},
		{"channels/edge/rolloutPolicy", ""},
		{"channels/edge/freshnessWindow", ""},
		{"channels/edge/freshnessWindow", "0"},
		{"channels/edge/freshnessWindow", "-1"},
		{"channels/edge/freshnessWindow", "1e3"},
		{"channels/edge/freshnessWindow", "99999999999"},
		{"rolloutPolicies", ""},
		{"rolloutPolicies/canary/onHealthFailure", ""},
		{"rolloutPolicies/canary/onHealthFailure", `"panic"`},
		{"rolloutPolicies/canary/onHealthFailure", `""`},
		{"rolloutPolicies/canary/sustainedFailureSeconds", "-1"},
		{"rolloutPolicies/canary/waves/0/selector", ""},
		{"rolloutPolicies/canary/waves/0/selector", "null"},
		{"rolloutPolicies/canary/waves/0/soakMinutes", ""},
		{"rolloutPolicies/canary/waves/0/soakMinutes", "52560001"},
		{"waves/stable", "null"},
		{"waves/stable", `[null]`},
		{"waves/stable/0/hosts", ""},
		{"waves/stable/0/hosts", `["a b"]`},
		{"edges/0/gated", ""},
		{"edges/0/gates", `""`},
		{"disruptionBudgets/0/selector", ""},
		{"disruptionBudgets/0/maxInFlightPct", "101"},
		{"disruptionBudgets/0/maxInFlight", "-1"},
		{"channelRefs/stable", `"a/b"`},
		{"meta/signedAt", `"2026-01-02T03:04:05"`},
		{"meta/signedAt", `5`},
		{"meta", `[]`},
	})
}

func TestAFleetMayLeaveOutWhatHasOneMeaning(t *testing.T) {
	f, err := fleet.ParseFleet([]byte(`{"schemaVersion":1,"later":{"x":1},"hosts":{"a":{"channel":"c","later":1}},
		"channels":{"c":{"rolloutPolicy":"p","freshnessWindow":1}},
		"rolloutPolicies":{"p":{"onHealthFailure":"halt","waves":[{"selector":{"all":true},"soakSeconds":7}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	p := f.RolloutPolicies["p"]
	if p.SustainedFailureSeconds != host.DefaultSustainedFailureSeconds || p.ActivationTimeoutSeconds != host.DefaultActivationTimeoutSeconds {
		t.Errorf("defaults: %+v", p)
	}
	if p.Waves[0].Soak() != 7 || !f.Meta.SignedAt.IsZero() || f.Waves == nil {
		t.Errorf("%+v", f)
	}
}

func TestAChannelEdgeAndItsAliasMustAgree(t *testing.T) {
	edge := func(raw string) error {
		_, err := fleet.ParseFleet(edited(t, golden(t, "fleet.json"), []string{"channelEdges"}, raw))
		return err
	}
	if err := edge(`[{"before":"edge","gates":"edge","after":"stable","gated":"stable"}]`); err != nil {
		t.Error(err)
	}
	for _, raw := range []string{
		`[{"before":"edge","gates":"stable","after":"stable"}]`, `[{"after":"stable"}]`, `[{"before":"edge"}]`, `[{"before":"edge","after":""}]`,
	} {
		if err := edge(raw); !errors.Is(err, fleet.ErrDocument) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestAManifestIsRefusedForItsForm(t *testing.T) {
	doc := golden(t, "manifest.json")
	m, err := fleet.ParseManifest(doc)
	if err != nil {
		t.Fatal(err)
	}
	if m.ID().String() != "stable@c0ffee" || len(m.HostSet) != 2 || m.DisruptionBudgets[0].Limit() != 1 {
		t.Errorf("%+v", m)
	}
	if e, ok := m.Find("web-02"); !ok || e.WaveIndex != 1 {
		t.Errorf("web-02: %+v %v", e, ok)
	}
	for _, name := range []string{"", "web-00", "web-015", "web-03"} {
		if _, ok := m.Find(name); ok {
			t.Errorf("%q was found", name)
		}
	}
	checkRefusals(t, doc, func(d []byte) error { _, err := fleet.ParseManifest(d); return err }, []refusal{
		{"schemaVersion", ""},
		{"channel", ""},
		{"channel", `"a@b"`},
		{"channelRef", `"a b"`},
		{"channelRef", ""},
		{"fleetResolvedHash", `"ab"`},
		{"fleetResolvedHash", `"` + strings.Repeat("AB", 32) + `"`},
		{"hostSet", ""},
		{"hostSet", "null"},
		{"hostSet", `[{"hostname":"b","waveIndex":0,"targetClosure":"c"},{"hostname":"a","waveIndex":0,"targetClosure":"c"}]`},
		{"hostSet", `[{"hostname":"a","waveIndex":0,"targetClosure":"c"},{"hostname":"a","waveIndex":0,"targetClosure":"c"}]`},
		{"hostSet/0/waveIndex", "-1"},
		{"hostSet/0/waveIndex", "1024"},
		{"hostSet/0/waveIndex", ""},
		{"hostSet/0/targetClosure", `"a/b"`},
		{"disruptionBudgets/0/hosts", ""},
	})
}

func TestATicketIsRefusedForItsForm(t *testing.T) {
	doc := golden(t, "ticket.json")
	ticket, err := fleet.ParseTicket(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := host.Policy{
		OnHealthFailure: host.RollbackAndHalt, SoakSeconds: 1800, HasSoak: true, HealthGate: []byte(`{"a": 1}`),
		SustainedFailureSeconds: 120, ActivationTimeoutSeconds: 600,
	}
	if got := ticket.HostPolicy(); !reflect.DeepEqual(got, want) {
		t.Errorf("policy %+v, want %+v", got, want)
	}
	if ticket.Freshness() != 24*time.Hour {
		t.Errorf("fresh for %s", ticket.Freshness())
	}
	checkRefusals(t, doc, func(d []byte) error { _, err := fleet.ParseTicket(d); return err }, []refusal{
		{"schemaVersion", ""},
		{"hostname", `"a b"`},
		{"hostname", "null"},
		{"rolloutId", `"stable"`},
		{"rolloutId", ""},
		{"channel", `"edge"`},
		{"wave", ""},
		{"wave", "4294967296"},
		{"targetClosure", `""`},
		{"soakSeconds", ""},
		{"soakSeconds", "9007199254740993"},
		{"policy", "null"},
		{"policy/onHealthFailure", `"x"`},
		{"policy/sustainedFailureSeconds", ""},
		{"policy/activationTimeoutSeconds", "1.5"},
		{"freshnessSeconds", "0"},
		{"freshnessSeconds", ""},
		{"fleetHash", ""},
		{"signedAt", `"x"`},
	})
	if _, err := fleet.ParseTicket(append(doc, strings.Repeat(" ", fleet.MaxTicket)...)); !errors.Is(err, fleet.ErrDocument) {
		t.Errorf("a ticket beyond its bound: %v", err)
	}
}

func TestRevocationsSayWhoIsOut(t *testing.T) {
	doc := golden(t, "revocations.json")
	r, err := fleet.ParseRevocations(doc)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		host   string
		issued time.Time
		want   bool
	}{{"web-01", at.Add(-time.Second), true}, {"web-01", at, false}, {"web-02", at.Add(-time.Hour), false}} {
		if got := r.Revoked(c.host, c.issued); got != c.want {
			t.Errorf("%s issued %s: %v", c.host, c.issued, got)
		}
	}
	checkRefusals(t, doc, func(d []byte) error { _, err := fleet.ParseRevocations(d); return err }, []refusal{
		{"schemaVersion", ""},
		{"revocations", ""},
		{"revocations", "null"},
		{"revocations/0/hostname", `"a b"`},
		{"revocations/0/notBefore", ""},
		{"revocations/0/notBefore", `"2026-02-01"`},
	})
}

func TestWhatIsEncodedIsReadBack(t *testing.T) {
	f, err := fleet.ParseFleet(golden(t, "fleet.json"))
	if err != nil {
		t.Fatal(err)
	}
	again := roundTrip(t, f.Encode, fleet.ParseFleet)
	equalJSON(t, f, again)

	m, err := fleet.ParseManifest(golden(t, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	equalJSON(t, m, roundTrip(t, m.Encode, fleet.ParseManifest))
	ticket, err := fleet.ParseTicket(golden(t, "ticket.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := roundTrip(t, ticket.Encode, fleet.ParseTicket); got.RolloutID != ticket.RolloutID || got.SignedAt != ticket.SignedAt || got.Wave != ticket.Wave {
		t.Errorf("%+v", got)
	}
	r, err := fleet.ParseRevocations(golden(t, "revocations.json"))
	if err != nil {
		t.Fatal(err)
	}
	equalJSON(t, r, roundTrip(t, r.Encode, fleet.ParseRevocations))
}

func roundTrip[T any](t *testing.T, encode func() ([]byte, error), parse func([]byte) (T, error)) T {
	t.Helper()
	data, err := encode()
	if err != nil {
		t.Fatal(err)
	}
	v, err := parse(data)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

// equalJSON compares by JSON: an empty list and none are the same there.
func equalJSON[T interface{ Encode() ([]byte, error) }](t *testing.T, a, b T) {
	t.Helper()
	one, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(two) {
		t.Errorf("got  %s\nwant %s", two, one)
	}
}

func FuzzParseFleet(f *testing.F) {
	f.Add(golden(f, "fleet.json"))
	fuzzParser(f, fleet.ParseFleet, (*fleet.Fleet).Encode)
}

func FuzzParseManifest(f *testing.F) {
	f.Add(golden(f, "manifest.json"))
	fuzzParser(f, fleet.ParseManifest, (*fleet.Manifest).Encode)
}

func FuzzParseTicket(f *testing.F) {
	f.Add(golden(f, "ticket.json"))
	fuzzParser(f, fleet.ParseTicket, (*fleet.Ticket).Encode)
}

func FuzzParseRevocations(f *testing.F) {
	f.Add(golden(f, "revocations.json"))
	fuzzParser(f, fleet.ParseRevocations, (*fleet.Revocations).Encode)
}

// fuzzParser: what is accepted can be written, is accepted again, and is then written the same.
func fuzzParser[T any](f *testing.F, parse func([]byte) (T, error), encode func(T) ([]byte, error)) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"schemaVersion":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parse(data)
		if err != nil {
			if !errors.Is(err, fleet.ErrDocument) {
				t.Fatalf("%v is of no class", err)
			}
			return
		}
		once, err := encode(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(once)
		if err != nil {
			t.Fatalf("%v in %s", err, once)
		}
		twice, err := encode(again)
		if err != nil || string(once) != string(twice) {
			t.Fatalf("%s\n%s\n%v", once, twice, err)
		}
	})
}
