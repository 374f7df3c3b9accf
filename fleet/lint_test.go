package fleet_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"nixfleet/fleet"
	"nixfleet/host"
)

// lintable is a fleet that nothing speaks against.
func lintable() *fleet.Fleet {
	one := uint32(1)
	return &fleet.Fleet{
		SchemaVersion: 1,
		Hosts: map[string]fleet.Host{
			"a": {Tags: []string{"canary"}, Channel: "stable", ClosureHash: "c1", Pubkey: pubkey},
			"b": {Tags: []string{"canary"}, Channel: "stable", ClosureHash: "c1"},
			"c": {Channel: "stable", ClosureHash: "c1"},
			"e": {Channel: "edge", ClosureHash: "c2"},
			"n": {Channel: "edge"},
		},
		Channels: map[string]fleet.Channel{"stable": {RolloutPolicy: "p", FreshnessWindow: 60}, "edge": {RolloutPolicy: "all", FreshnessWindow: 60}},
		RolloutPolicies: map[string]fleet.RolloutPolicy{
			"p": {OnHealthFailure: host.Halt, ActivationTimeoutSeconds: 600, Waves: []fleet.PolicyWave{
				{Selector: fleet.Selector{Tags: []string{"canary"}}, SoakMinutes: 5}, {Selector: fleet.Selector{All: true}},
			}},
			"all": {OnHealthFailure: host.Halt, ActivationTimeoutSeconds: 600, Waves: []fleet.PolicyWave{{Selector: fleet.Selector{All: true}}}},
		},
		Waves:             map[string][]fleet.Wave{},
		Edges:             []fleet.Edge{{Gated: "b", Gates: "a"}, {Gated: "c", Gates: "a"}},
		ChannelEdges:      []fleet.ChannelEdge{{Gates: "edge", Gated: "stable"}},
		DisruptionBudgets: []fleet.Budget{{Selector: fleet.Selector{All: true}, MaxInFlight: &one}},
	}
}

func TestLintHasNothingAgainstAGoodFleet(t *testing.T) {
	if errs := fleet.Lint(lintable()); errs != nil {
		t.Error(errors.Join(errs...))
	}
}

func TestLintSaysInASentenceWhatIsWrong(t *testing.T) {
	zero := uint32(0)
	policy := func(f *fleet.Fleet, waves ...fleet.Selector) {
		p := f.RolloutPolicies["p"]
		p.Waves = nil
		for _, s := range waves {
			p.Waves = append(p.Waves, fleet.PolicyWave{Selector: s})
		}
		f.RolloutPolicies["p"] = p
	}
	setHost := func(f *fleet.Fleet, name string, change func(*fleet.Host)) {
		h := f.Hosts[name]
		change(&h)
		f.Hosts[name] = h
	}
	for _, c := range []struct {
		name   string
		breaks func(*fleet.Fleet)
		want   []string
	}{
		{"schema version", func(f *fleet.Fleet) { f.SchemaVersion = 2 }, []string{"fleet: schemaVersion is 2, want 1"}},
		{"pubkey", func(f *fleet.Fleet) { setHost(f, "b", func(h *fleet.Host) { h.Pubkey = "ssh-rsa AAAA" }) }, []string{
			`fleet: the pubkey of b is not a line "ssh-ed25519 AAAA...": nothing the host reports could be believed`,
		}},
		{"channel of a host", func(f *fleet.Fleet) { setHost(f, "n", func(h *fleet.Host) { h.Channel = "nightly" }) }, []string{
			`fleet: channel "nightly" of host n is not there, want one of: edge, stable`,
		}},
		{"policy of a channel", func(f *fleet.Fleet) { f.Channels["edge"] = fleet.Channel{RolloutPolicy: "q"} }, []string{
			`fleet: channel "edge" has the policy "q", which is not there, want one of: all, p`,
		}},
		{"name of a channel", func(f *fleet.Fleet) { f.Channels["a b"] = fleet.Channel{RolloutPolicy: "p"} }, []string{
			`fleet: channel "a b" cannot be part of a rollout id: fleet: bad rollout id: the channel "a b" contains ' '`,
		}},
		{"waves of no channel", func(f *fleet.Fleet) { f.Waves["x"] = nil }, []string{`fleet: waves.x: there is no channel "x"`}},
		{"timeout", func(f *fleet.Fleet) {
			p := f.RolloutPolicies["p"]
			p.ActivationTimeoutSeconds = 0
			f.RolloutPolicies["p"] = p
		}, []string{"fleet: rolloutPolicies.p: activationTimeoutSeconds is 0, so every switch fails"}},
		{"unknown tag, host and channel of a selector", func(f *fleet.Fleet) {
			policy(f, fleet.Selector{All: true, Tags: []string{"x"}, TagsAny: []string{"y"}, Hosts: []string{"a", "z"}, Channel: "q"})
		}, []string{
			`fleet: rolloutPolicies.p.waves[0].selector: there is no channel "q"`,
			"fleet: rolloutPolicies.p.waves[0].selector: no host has the tag x, y",
			"fleet: rolloutPolicies.p.waves[0].selector: there is no host z",
		}},
		{"empty selector", func(f *fleet.Fleet) { policy(f, fleet.Selector{All: true}, fleet.Selector{}) }, []string{
			"fleet: rolloutPolicies.p.waves[1].selector: no rule, so it selects nothing",
			`fleet: wave 1 of channel "stable" is empty: no host with a closure is in it, so it could never be done`,
		}},
		{"host in no wave", func(f *fleet.Fleet) { policy(f, fleet.Selector{Tags: []string{"canary"}}) }, []string{
			`fleet: hosts of channel "stable" in no wave: c`,
		}},
		{"no waves at all", func(f *fleet.Fleet) { policy(f) }, []string{`fleet: hosts of channel "stable" in no wave: a, b, c`}},
		{"wave without a closure", func(f *fleet.Fleet) { setHost(f, "c", func(h *fleet.Host) { h.ClosureHash = "" }) }, []string{
			`fleet: wave 1 of channel "stable" is empty: no host with a closure is in it, so it could never be done`,
		}},
		{"written waves", func(f *fleet.Fleet) {
			policy(f)
			f.Waves["stable"] = []fleet.Wave{{Hosts: []string{"a", "b"}}, {Hosts: []string{"a", "e", "c"}}}
		}, []string{
			"fleet: waves.stable[1] has hosts that are not on the channel: e",
			"fleet: waves.stable[1] has hosts that are in a wave already: a",
		}},
		{"waves that contradict", func(f *fleet.Fleet) { f.Waves["stable"] = []fleet.Wave{} }, []string{
			`fleet: waves: waves.stable is not what policy "p" selects: 2 waves selected, 0 written; leave it out to have it resolved`,
		}},
		{"edges", func(f *fleet.Fleet) { f.Edges = []fleet.Edge{{Gated: "x", Gates: "a"}, {Gated: "a", Gates: "n"}} }, []string{
			`fleet: edges[0]: there is no host "x"`,
			"fleet: edges[1]: a waits for n, which has no closure and never converges",
		}},
		{"channel edges", func(f *fleet.Fleet) {
			f.Channels["idle"] = fleet.Channel{RolloutPolicy: "p"}
			f.ChannelEdges = []fleet.ChannelEdge{{Gates: "x", Gated: "stable"}, {Gates: "idle", Gated: "stable"}}
		}, []string{
			`fleet: channelEdges[0]: there is no channel "x"`,
			"fleet: channelEdges[1]: stable waits for idle, which has nothing to roll out and never ends",
		}},
		{"budgets", func(f *fleet.Fleet) {
			f.DisruptionBudgets = []fleet.Budget{
				{Selector: fleet.Selector{All: true}},
				{Selector: fleet.Selector{All: true}, MaxInFlight: &zero},
				{Selector: fleet.Selector{Tags: []string{"canary"}}, MaxInFlightPct: &zero},
				{Selector: fleet.Selector{}, MaxInFlight: new(uint32)},
			}
		}, []string{
			"fleet: disruptionBudgets[0]: neither maxInFlight nor maxInFlightPct, so it bounds nothing",
			"fleet: disruptionBudgets[1]: maxInFlight is 0, so none of its 5 hosts could ever move",
			"fleet: disruptionBudgets[2]: maxInFlightPct is 0, so none of its 2 hosts could ever move: write maxInFlight 1 for one at a time",
			"fleet: disruptionBudgets[3].selector: no rule, so it selects nothing",
			"fleet: disruptionBudgets[3]: maxInFlight is 0, so none of its 0 hosts could ever move",
		}},
		{"an edge on itself", func(f *fleet.Fleet) { f.Edges = []fleet.Edge{{Gated: "a", Gates: "a"}} }, []string{
			"fleet: edges wait for each other: a waits for a",
		}},
		{"a cycle of edges", func(f *fleet.Fleet) {
			f.Edges = []fleet.Edge{{Gated: "c", Gates: "a"}, {Gated: "a", Gates: "b"}, {Gated: "b", Gates: "a"}}
		}, []string{"fleet: edges wait for each other: a waits for b waits for a"}},
		{"a cycle of channels", func(f *fleet.Fleet) {
			f.ChannelEdges = append(f.ChannelEdges, fleet.ChannelEdge{Gates: "stable", Gated: "edge"})
		}, []string{"fleet: channelEdges wait for each other: stable waits for edge waits for stable"}},
		{"an edge against the waves", func(f *fleet.Fleet) { f.Edges = []fleet.Edge{{Gated: "a", Gates: "c"}} }, []string{
			"fleet: edges and waves wait for each other: wave 0 of stable waits for a waits for c waits for wave 0 of stable",
		}},
		{"an edge against the channels", func(f *fleet.Fleet) { f.Edges = []fleet.Edge{{Gated: "e", Gates: "a"}} }, []string{
			"fleet: edges and waves wait for each other: wave 0 of edge waits for e waits for a waits for the opening of stable waits for the end of edge waits for wave 0 of edge",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := lintable()
			c.breaks(f)
			var got []string
			for _, err := range fleet.Lint(f) {
				if !errors.Is(err, fleet.ErrLint) {
					t.Errorf("%v is of no class", err)
				}
				got = append(got, err.Error())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLintNamesTheFirstOfManyAndCountsTheRest(t *testing.T) {
	f := lintable()
	p := f.RolloutPolicies["p"]
	p.Waves = p.Waves[:1]
	f.RolloutPolicies["p"] = p
	for i := range 1000 {
		f.Hosts[fmt.Sprintf("x%04d", i)] = fleet.Host{Channel: "stable", ClosureHash: "c"}
	}
	errs := fleet.Lint(f)
	want := `fleet: hosts of channel "stable" in no wave: c, x0000, x0001, x0002, x0003, x0004, x0005, x0006, x0007, x0008 and 991 more`
	if got := fmt.Sprint(errs); got != "["+want+"]" {
		t.Error(got)
	}
}

func TestAChainAsLongAsTheFleetIsLinted(t *testing.T) {
	f := lintable()
	f.Edges = nil
	const n = 50_000
	for i := range n {
		f.Hosts[fmt.Sprintf("x%06d", i)] = fleet.Host{Channel: "stable", ClosureHash: "c"}
		if i > 0 {
			f.Edges = append(f.Edges, fleet.Edge{Gated: fmt.Sprintf("x%06d", i), Gates: fmt.Sprintf("x%06d", i-1)})
		}
	}
	if errs := fleet.Lint(f); errs != nil {
		t.Error(errs)
	}
	f.Edges = append(f.Edges, fleet.Edge{Gated: "x000000", Gates: fmt.Sprintf("x%06d", n-1)})
	if errs := fleet.Lint(f); len(errs) != 1 || len(fmt.Sprint(errs)) > 1000 {
		t.Errorf("%v", errs)
	}
}
