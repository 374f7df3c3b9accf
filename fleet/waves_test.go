package fleet_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nixfleet/fleet"
	"nixfleet/host"
)

var tagNames = []string{"web", "db", "canary", "eu", "us"}

// anyFleet draws a fleet of one policy whose last wave takes everyone left.
func anyFleet(t *rapid.T) *fleet.Fleet {
	f := &fleet.Fleet{
		SchemaVersion: 1, Hosts: map[string]fleet.Host{}, Waves: map[string][]fleet.Wave{},
		Channels:        map[string]fleet.Channel{"stable": {RolloutPolicy: "p", FreshnessWindow: 60}, "edge": {RolloutPolicy: "p", FreshnessWindow: 5}},
		RolloutPolicies: map[string]fleet.RolloutPolicy{},
	}
	for i := range rapid.IntRange(1, 30).Draw(t, "hosts") {
		h := fleet.Host{
			Tags:    rapid.SliceOfNDistinct(rapid.SampledFrom(tagNames), 0, 3, rapid.ID).Draw(t, "tags"),
			Channel: rapid.SampledFrom([]string{"stable", "edge"}).Draw(t, "channel"),
		}
		if rapid.Bool().Draw(t, "has closure") {
			h.ClosureHash = fmt.Sprintf("c%d-x", i%3)
		}
		f.Hosts[fmt.Sprintf("h%02d", i)] = h
	}
	policy := fleet.RolloutPolicy{OnHealthFailure: host.Halt, ActivationTimeoutSeconds: 1}
	for range rapid.IntRange(0, 4).Draw(t, "waves") {
		policy.Waves = append(policy.Waves, fleet.PolicyWave{Selector: anySelector(t), SoakMinutes: rapid.Uint64Range(0, 90).Draw(t, "soak")})
	}
	policy.Waves = append(policy.Waves, fleet.PolicyWave{Selector: fleet.Selector{All: true}})
	f.RolloutPolicies["p"] = policy
	return f
}

func anySelector(t *rapid.T) fleet.Selector {
	tags := rapid.SliceOfNDistinct(rapid.SampledFrom(tagNames), 0, 2, rapid.ID)
	return fleet.Selector{
		Tags:    tags.Draw(t, "tags"),
		TagsAny: tags.Draw(t, "tagsAny"),
		Hosts:   rapid.SliceOfN(rapid.SampledFrom([]string{"h00", "h01", "h02"}), 0, 2).Draw(t, "hosts"),
		Channel: rapid.SampledFrom([]string{"", "", "edge"}).Draw(t, "channel"),
		All:     rapid.IntRange(0, 9).Draw(t, "all") == 0,
	}
}

func TestEveryHostIsInTheFirstWaveThatSelectsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFleet(t)
		waves, err := fleet.ResolveWaves(f, "stable")
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]int{}
		for i, w := range waves {
			if !slices.IsSorted(w.Hosts) || w.SoakMinutes != f.RolloutPolicies["p"].Waves[i].SoakMinutes {
				t.Fatalf("wave %d: %+v", i, w)
			}
			for _, name := range w.Hosts {
				if _, twice := in[name]; twice {
					t.Fatalf("%s is in two waves", name)
				}
				in[name] = i
			}
		}
		for name, h := range f.Hosts {
			first := slices.IndexFunc(f.RolloutPolicies["p"].Waves, func(w fleet.PolicyWave) bool { return w.Selector.Matches(name, h) })
			if got, ok := in[name]; ok != (h.Channel == "stable") || ok && got != first {
				t.Fatalf("%s on %s is in wave %d (%v), want %d", name, h.Channel, got, ok, first)
			}
		}
		again := *f
		again.Hosts = maps.Clone(f.Hosts) // another map order
		if other, err := fleet.ResolveWaves(&again, "stable"); err != nil || !reflect.DeepEqual(waves, other) {
			t.Fatalf("%+v, %v", other, err)
		}
	})
}

func TestManifestAndTicketsSayWhatTheWavesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFleet(t)
		at := time.Date(2026, 1, 2, 3, 4, 5, 999, time.FixedZone("", 3600))
		resolved, err := fleet.ResolveAll(f, at)
		if err != nil {
			t.Fatal(err)
		}
		id, err := fleet.NewRolloutID("stable", "ref")
		if err != nil {
			t.Fatal(err)
		}
		m, err := fleet.BuildManifest(resolved, id, hash, at)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fleet.ParseManifest(raw); err != nil {
			t.Fatal(err)
		}
		moving := 0
		for _, h := range f.Hosts {
			if h.Channel == "stable" && h.ClosureHash != "" {
				moving++
			}
		}
		tickets, err := fleet.BuildTickets(resolved, m)
		if err != nil || len(m.HostSet) != moving {
			t.Fatalf("%d hosts, want %d, %v", len(m.HostSet), moving, err)
		}
		i := 0
		for ticket := range tickets {
			e := m.HostSet[i]
			i++
			if ticket.Hostname != e.Hostname || ticket.Wave != e.WaveIndex || ticket.TargetClosure != e.TargetClosure || ticket.RolloutID != id ||
				ticket.SoakSeconds != resolved.Waves["stable"][e.WaveIndex].Soak() || ticket.FreshnessSeconds != 3600 ||
				!ticket.SignedAt.Equal(at.Truncate(time.Second)) || ticket.TargetClosure != f.Hosts[e.Hostname].ClosureHash {
				t.Fatalf("%+v for %+v", ticket, e)
			}
		}
		if i != moving {
			t.Fatalf("%d tickets, want %d", i, moving)
		}
	})
}

const hash = "abababababababababababababababababababababababababababababababab"

func TestAnyRuleThatFiresMatches(t *testing.T) {
	h := fleet.Host{Tags: []string{"web", "eu"}, Channel: "stable"}
	for name, c := range map[string]struct {
		s    fleet.Selector
		want bool
	}{
		"nothing":                {fleet.Selector{}, false},
		"all":                    {fleet.Selector{All: true}, true},
		"every tag":              {fleet.Selector{Tags: []string{"eu", "web"}}, true},
		"one tag missing":        {fleet.Selector{Tags: []string{"web", "db"}}, false},
		"any tag":                {fleet.Selector{TagsAny: []string{"db", "eu"}}, true},
		"no tag of any":          {fleet.Selector{TagsAny: []string{"db"}}, false},
		"its name":               {fleet.Selector{Hosts: []string{"x", "a"}}, true},
		"another name":           {fleet.Selector{Hosts: []string{"b"}}, false},
		"its channel":            {fleet.Selector{Channel: "stable"}, true},
		"another channel":        {fleet.Selector{Channel: "edge"}, false},
		"one of two rules fires": {fleet.Selector{Channel: "edge", Tags: []string{"web"}}, true},
	} {
		if got := c.s.Matches("a", h); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	a := fleet.Selector{Tags: []string{"x", "y"}, Hosts: []string{"h", "h"}}
	if !a.Equal(fleet.Selector{Tags: []string{"y", "x"}, Hosts: []string{"h"}}) || a.Equal(fleet.Selector{Tags: []string{"x"}}) || a.Empty() {
		t.Error("equal selectors differ, or different ones are equal")
	}
}

func TestALimitIsRoundedDownButNeverToNothing(t *testing.T) {
	n := func(v uint32) *uint32 { return &v }
	for _, c := range []struct {
		b     fleet.Budget
		hosts int
		want  int
	}{
		{fleet.Budget{MaxInFlight: n(3)}, 10, 3},
		{fleet.Budget{MaxInFlightPct: n(10)}, 19, 1},
		{fleet.Budget{MaxInFlightPct: n(10)}, 5, 1},
		{fleet.Budget{MaxInFlightPct: n(100)}, 7, 7},
		{fleet.Budget{MaxInFlight: n(2), MaxInFlightPct: n(50)}, 10, 2},
		{fleet.Budget{MaxInFlight: n(9), MaxInFlightPct: n(50)}, 10, 5},
		{fleet.Budget{}, 4, 4},
	} {
		if got := c.b.Limit(c.hosts); got != c.want {
			t.Errorf("%+v of %d: %d, want %d", c.b, c.hosts, got, c.want)
		}
	}
}

func TestWrittenWavesMustBeWhatThePolicySelects(t *testing.T) {
	f := lintable()
	f.Waves["stable"] = []fleet.Wave{{Hosts: []string{"b", "a"}, SoakMinutes: 5}, {Hosts: []string{"c"}}}
	if _, err := fleet.ResolveWaves(f, "stable"); err != nil {
		t.Errorf("the same in another order: %v", err)
	}
	for name, waves := range map[string][]fleet.Wave{
		"another host":      {{Hosts: []string{"a"}, SoakMinutes: 5}, {Hosts: []string{"b", "c"}}},
		"another soak":      {{Hosts: []string{"a", "b"}, SoakMinutes: 6}, {Hosts: []string{"c"}}},
		"a wave less":       {{Hosts: []string{"a", "b", "c"}, SoakMinutes: 5}},
		"an unknown host":   {{Hosts: []string{"a", "b"}, SoakMinutes: 5}, {Hosts: []string{"c", "d"}}},
		"a host left aside": {{Hosts: []string{"a", "b"}, SoakMinutes: 5}, {Hosts: []string{}}},
	} {
		f.Waves["stable"] = waves
		if _, err := fleet.ResolveWaves(f, "stable"); !errors.Is(err, fleet.ErrWaves) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A policy without waves leaves it to the document.
	f.RolloutPolicies["p"] = fleet.RolloutPolicy{OnHealthFailure: host.Halt}
	f.Waves["stable"] = []fleet.Wave{{Hosts: []string{"c", "a"}}, {Hosts: []string{"b"}}}
	waves, err := fleet.ResolveWaves(f, "stable")
	if err != nil || !slices.Equal(waves[0].Hosts, []string{"a", "c"}) {
		t.Errorf("%+v, %v", waves, err)
	}
}

func TestTheNewestRefIsWhatTheFleetSays(t *testing.T) {
	f := lintable()
	f.Meta.CICommit = "c1"
	if id, ok := f.Newest("stable"); !ok || id.String() != "stable@c1" {
		t.Errorf("without channelRefs: %v %v", id, ok)
	}
	if _, ok := f.Newest("other"); ok {
		t.Error("a channel that is not there has a newest rollout")
	}
	f.ChannelRefs = map[string]string{"edge": "e2"}
	if _, ok := f.Newest("stable"); ok {
		t.Error("channelRefs leave stable out, yet it has a newest rollout")
	}
	if id, ok := f.Newest("edge"); !ok || id.Ref() != "e2" {
		t.Errorf("edge: %v %v", id, ok)
	}
}
