package fleet

import (
	"fmt"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// ParseFleet reads a fleet.resolved.json of at most 32 MiB. Unknown fields are ignored; what is missing, null, of the
// wrong kind or beyond a bound of this package is refused with class [ErrDocument], path and what is allowed. Whether
// it is signed, and whether it makes sense, is not looked at. docs/design/05-trust.md.
func ParseFleet(data []byte) (*Fleet, error) {
	o, err := document(data)
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		SchemaVersion:   o.Uint64("schemaVersion"),
		Hosts:           map[string]Host{},
		Channels:        map[string]Channel{},
		RolloutPolicies: map[string]RolloutPolicy{},
		Waves:           map[string][]Wave{},
		Meta:            parseMeta(o),
	}
	countMembers(o, "hosts", MaxHosts)
	o.Each("hosts", func(name string, h *strictjson.Object) {
		if err := ValidateHostname(name); err != nil {
			h.Fail("", "%v", err)
		}
		f.Hosts[name] = parseHost(h)
	})
	countMembers(o, "channels", MaxChannels)
	o.Each("channels", func(name string, c *strictjson.Object) {
		checkName(c, name)
		f.Channels[name] = parseChannel(c)
	})
	countMembers(o, "rolloutPolicies", MaxPolicies)
	o.Each("rolloutPolicies", func(name string, p *strictjson.Object) {
		checkName(p, name)
		f.RolloutPolicies[name] = parsePolicy(p)
	})
	if o.Has("waves") {
		parseWaves(o.Object("waves"), f.Waves)
	}
	if o.Has("channelRefs") {
		f.ChannelRefs = parseRefs(o.Object("channelRefs"))
	}
	f.parseRules(o)
	if err := finish("fleet", o); err != nil {
		return nil, err
	}
	return f, nil
}

func countMembers(o *strictjson.Object, key string, most int) {
	if n := o.Value(key).Len(); n > most {
		o.Fail(key, "%d members, at most %d allowed", n, most)
	}
}

func checkName(o *strictjson.Object, name string) {
	if name == "" || len(name) > MaxName {
		o.Fail("", "a name of %d bytes, want 1 to %d", len(name), MaxName)
	}
}

func parseHost(o *strictjson.Object) Host {
	h := Host{
		System:      optText(o, "system", MaxName),
		Tags:        optTexts(o, "tags", MaxTags, MaxName),
		Channel:     text(o, "channel", MaxName),
		ClosureHash: o.OptString("closureHash"),
		Pubkey:      optText(o, "pubkey", MaxReason),
	}
	if h.ClosureHash != "" {
		h.ClosureHash = closure(o, "closureHash")
	}
	if p := o.OptObject("pin"); p != nil {
		h.Pin = &Pin{
			Commit:    text(p, "commit", MaxRolloutID),
			Reason:    text(p, "reason", MaxReason),
			ExpiresAt: p.OptTime("expiresAt"),
		}
	}
	return h
}

func parseChannel(o *strictjson.Object) Channel {
	return Channel{
		RolloutPolicy:            text(o, "rolloutPolicy", MaxName),
		ReconcileIntervalMinutes: optNumber(o, "reconcileIntervalMinutes", 0, maxMinutes),
		FreshnessWindow:          number(o, "freshnessWindow", 1, maxMinutes),
		SigningIntervalMinutes:   optNumber(o, "signingIntervalMinutes", 0, maxMinutes),
		Compliance:               optRaw(o, "compliance"),
	}
}

func parsePolicy(o *strictjson.Object) RolloutPolicy {
	p := RolloutPolicy{
		Strategy:                 optText(o, "strategy", MaxName),
		HealthGate:               optRaw(o, "healthGate"),
		OnHealthFailure:          onFailure(o, "onHealthFailure"),
		SustainedFailureSeconds:  optNumber(o, "sustainedFailureSeconds", host.DefaultSustainedFailureSeconds, host.MaxSoakSeconds),
		ActivationTimeoutSeconds: optNumber(o, "activationTimeoutSeconds", host.DefaultActivationTimeoutSeconds, host.MaxSoakSeconds),
	}
	for _, w := range objects(o, "waves", MaxWaves) {
		minutes, seconds := parseSoak(w)
		p.Waves = append(p.Waves, PolicyWave{Selector: parseSelector(w, "selector"), SoakMinutes: minutes, SoakSeconds: seconds})
	}
	return p
}

// parseSoak reads soakMinutes, which may be absent only if soakSeconds says it better.
func parseSoak(o *strictjson.Object) (minutes uint64, seconds *uint64) {
	seconds = optPointer(o, "soakSeconds", host.MaxSoakSeconds)
	if seconds != nil {
		return optNumber(o, "soakMinutes", 0, maxMinutes), seconds
	}
	return number(o, "soakMinutes", 0, maxMinutes), nil
}

func parseWaves(o *strictjson.Object, into map[string][]Wave) {
	if len(o.Keys()) > MaxChannels {
		o.Fail("", "%d channels, at most %d allowed", len(o.Keys()), MaxChannels)
		return
	}
	for _, channel := range o.Keys() {
		list := o.Objects(channel)
		if len(list) > MaxWaves {
			o.Fail(channel, "%d waves, at most %d allowed", len(list), MaxWaves)
		}
		waves := make([]Wave, 0, len(list))
		for _, w := range list {
			minutes, seconds := parseSoak(w)
			waves = append(waves, Wave{Hosts: hostnames(w, "hosts", false), SoakMinutes: minutes, SoakSeconds: seconds})
		}
		into[channel] = waves
	}
}

func parseRefs(o *strictjson.Object) map[string]string {
	refs := make(map[string]string, len(o.Keys()))
	if len(o.Keys()) > MaxChannels {
		o.Fail("", "%d channels, at most %d allowed", len(o.Keys()), MaxChannels)
		return refs
	}
	for _, channel := range o.Keys() {
		refs[channel] = o.String(channel)
		if _, err := NewRolloutID(channel, refs[channel]); err != nil {
			o.Fail(channel, "%v", err)
		}
	}
	return refs
}

// parseRules reads the lists that restrict who may go when.
func (f *Fleet) parseRules(o *strictjson.Object) {
	for _, e := range objects(o, "edges", MaxEdges) {
		f.Edges = append(f.Edges, Edge{
			Gated: hostname(e, "gated"), Gates: hostname(e, "gates"), Reason: optText(e, "reason", MaxReason),
		})
	}
	for _, e := range objects(o, "channelEdges", MaxEdges) {
		f.ChannelEdges = append(f.ChannelEdges, ChannelEdge{
			Gates: aliased(e, "gates", "before"), Gated: aliased(e, "gated", "after"), Reason: optText(e, "reason", MaxReason),
		})
	}
	for _, b := range objects(o, "disruptionBudgets", MaxBudgets) {
		f.DisruptionBudgets = append(f.DisruptionBudgets, Budget{
			Selector:       parseSelector(b, "selector"),
			MaxInFlight:    optUint32(b, "maxInFlight", MaxHosts),
			MaxInFlightPct: optUint32(b, "maxInFlightPct", 100),
		})
	}
}

// aliased reads a channel name under either of two keys. Both may be there only if they agree.
func aliased(o *strictjson.Object, key, alias string) string {
	if !o.Has(alias) {
		return text(o, key, MaxName)
	}
	name := text(o, alias, MaxName)
	if o.Has(key) && o.String(key) != name {
		o.Fail(alias, "%s and its alias %s name different channels", key, fmt.Sprintf("%q", alias))
	}
	return name
}
