package fleet

import (
	"encoding/json"
	"fmt"
)

// Encode returns the fleet as JSON that [ParseFleet] reads back, unsigned and not canonical.
func (f *Fleet) Encode() ([]byte, error) {
	return marshal("fleet", fleetJSON{
		SchemaVersion:   f.SchemaVersion,
		Hosts:           eachNamed(f.Hosts, encodeHost),
		Channels:        eachNamed(f.Channels, encodeChannel),
		RolloutPolicies: eachNamed(f.RolloutPolicies, encodePolicy),
		Waves:           encodeWaves(f.Waves),
		Edges:           each(f.Edges, func(e Edge) edgeJSON { return edgeJSON(e) }),
		ChannelEdges: each(f.ChannelEdges, func(e ChannelEdge) edgeJSON {
			return edgeJSON{Gated: e.Gated, Gates: e.Gates, Reason: e.Reason}
		}),
		DisruptionBudgets: each(f.DisruptionBudgets, func(b Budget) budgetJSON {
			return budgetJSON{Selector: encodeSelector(b.Selector), MaxInFlight: b.MaxInFlight, MaxInFlightPct: b.MaxInFlightPct}
		}),
		ChannelRefs: f.ChannelRefs,
		Meta:        encodeMeta(f.Meta),
	})
}

func encodeHost(h Host) hostJSON {
	out := hostJSON{System: h.System, Tags: orEmpty(h.Tags), Channel: h.Channel, ClosureHash: h.ClosureHash, Pubkey: h.Pubkey}
	if h.Pin != nil {
		out.Pin = &pinJSON{Commit: h.Pin.Commit, Reason: h.Pin.Reason, ExpiresAt: timeText(h.Pin.ExpiresAt)}
	}
	return out
}

func encodeChannel(c Channel) channelJSON {
	return channelJSON{
		RolloutPolicy:            c.RolloutPolicy,
		ReconcileIntervalMinutes: c.ReconcileIntervalMinutes,
		FreshnessWindow:          c.FreshnessWindow,
		SigningIntervalMinutes:   c.SigningIntervalMinutes,
		Compliance:               c.Compliance,
	}
}

func encodePolicy(p RolloutPolicy) policyJSON {
	return policyJSON{
		Strategy: p.Strategy,
		Waves: each(p.Waves, func(w PolicyWave) policyWaveJSON {
			return policyWaveJSON{Selector: encodeSelector(w.Selector), SoakMinutes: w.SoakMinutes, SoakSeconds: w.SoakSeconds}
		}),
		HealthGate:               orObject(p.HealthGate),
		OnHealthFailure:          p.OnHealthFailure.String(),
		SustainedFailureSeconds:  p.SustainedFailureSeconds,
		ActivationTimeoutSeconds: p.ActivationTimeoutSeconds,
	}
}

func encodeSelector(s Selector) selectorJSON {
	return selectorJSON{Tags: orEmpty(s.Tags), TagsAny: orEmpty(s.TagsAny), Hosts: orEmpty(s.Hosts), Channel: s.Channel, All: s.All}
}

func encodeWaves(waves map[string][]Wave) map[string][]waveJSON {
	return eachNamed(waves, func(list []Wave) []waveJSON {
		return each(list, func(w Wave) waveJSON {
			return waveJSON{Hosts: orEmpty(w.Hosts), SoakMinutes: w.SoakMinutes, SoakSeconds: w.SoakSeconds}
		})
	})
}

// EncodeMember returns one member of a fleet document that a release fills in: "waves", "channelRefs" or "meta".
func (f *Fleet) EncodeMember(name string) ([]byte, error) {
	switch name {
	case "waves":
		return marshal(name, encodeWaves(f.Waves))
	case "channelRefs":
		return marshal(name, f.ChannelRefs)
	case "meta":
		return marshal(name, encodeMeta(f.Meta))
	}
	return nil, fmt.Errorf("%w: no member %q", ErrDocument, name)
}

func encodeMeta(m Meta) metaJSON {
	return metaJSON{SchemaVersion: m.SchemaVersion, SignedAt: timeText(m.SignedAt), CICommit: m.CICommit, SignatureAlgorithm: m.SignatureAlgorithm}
}

// Encode returns the manifest as JSON that [ParseManifest] reads back, unsigned and not canonical.
func (m *Manifest) Encode() ([]byte, error) {
	return marshal("manifest", manifestJSON{
		SchemaVersion:     m.SchemaVersion,
		DisplayName:       m.DisplayName,
		Channel:           m.Channel,
		ChannelRef:        m.ChannelRef,
		FleetResolvedHash: m.FleetResolvedHash,
		HostSet:           each(m.HostSet, func(e HostSetEntry) hostSetJSON { return hostSetJSON(e) }),
		HealthGate:        orObject(m.HealthGate),
		DisruptionBudgets: each(m.DisruptionBudgets, func(b ManifestBudget) manifestBudgetJSON {
			return manifestBudgetJSON{
				Selector: encodeSelector(b.Selector), Hosts: orEmpty(b.Hosts), MaxInFlight: b.MaxInFlight, MaxInFlightPct: b.MaxInFlightPct,
			}
		}),
		Meta: encodeMeta(m.Meta),
	})
}

// Encode returns the ticket as JSON that [ParseTicket] reads back, unsigned and not canonical.
func (t *Ticket) Encode() ([]byte, error) {
	policy, err := t.Policy.Encode()
	if err != nil {
		return nil, err
	}
	return marshal("ticket", ticketJSON{
		SchemaVersion:    t.SchemaVersion,
		Hostname:         t.Hostname,
		RolloutID:        t.RolloutID.String(),
		Channel:          t.Channel,
		Wave:             t.Wave,
		TargetClosure:    t.TargetClosure,
		SoakSeconds:      t.SoakSeconds,
		Policy:           policy,
		FreshnessSeconds: t.FreshnessSeconds,
		FleetHash:        t.FleetHash,
		SignedAt:         timeText(t.SignedAt),
	})
}

// Encode returns the policy as the document has it: as it was read, or else from its fields.
func (p TicketPolicy) Encode() ([]byte, error) {
	if p.Raw != nil {
		return p.Raw, nil
	}
	return marshal("ticket policy", ticketPolicyJSON{
		OnHealthFailure:          p.OnHealthFailure.String(),
		SustainedFailureSeconds:  p.SustainedFailureSeconds,
		ActivationTimeoutSeconds: p.ActivationTimeoutSeconds,
		HealthGate:               orObject(p.HealthGate),
	})
}

// EncodeCommitment returns what the policy's hash is over: all that the ticket decides, and nothing of when it was
// signed, so that signing again changes no hash.
func (t *Ticket) EncodeCommitment() ([]byte, error) {
	policy, err := t.Policy.Encode()
	if err != nil {
		return nil, err
	}
	return marshal("ticket", struct {
		Hostname      string          `json:"hostname"`
		RolloutID     string          `json:"rolloutId"`
		Channel       string          `json:"channel"`
		Wave          uint32          `json:"wave"`
		TargetClosure string          `json:"targetClosure"`
		SoakSeconds   uint64          `json:"soakSeconds"`
		Policy        json.RawMessage `json:"policy"`
	}{t.Hostname, t.RolloutID.String(), t.Channel, t.Wave, t.TargetClosure, t.SoakSeconds, policy})
}

// Encode returns the revocations as JSON that [ParseRevocations] reads back, unsigned and not canonical.
func (r *Revocations) Encode() ([]byte, error) {
	return marshal("revocations", revocationsJSON{
		SchemaVersion: r.SchemaVersion,
		Revocations: each(r.Revocations, func(v Revocation) revocationJSON {
			return revocationJSON{Hostname: v.Hostname, NotBefore: timeText(v.NotBefore), Reason: v.Reason}
		}),
		Meta: encodeMeta(r.Meta),
	})
}
