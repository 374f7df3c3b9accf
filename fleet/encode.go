package fleet

import (
	"encoding/json"
	"fmt"
	"time"
)

// The JSON of every document. Names and shapes are those of docs/design/05-trust.md; the order of fields means
// nothing, as what is signed and published is the canonical form.

type fleetJSON struct {
	SchemaVersion     uint64                 `json:"schemaVersion"`
	Hosts             map[string]hostJSON    `json:"hosts"`
	Channels          map[string]channelJSON `json:"channels"`
	RolloutPolicies   map[string]policyJSON  `json:"rolloutPolicies"`
	Waves             map[string][]waveJSON  `json:"waves"`
	Edges             []edgeJSON             `json:"edges"`
	ChannelEdges      []edgeJSON             `json:"channelEdges"`
	DisruptionBudgets []budgetJSON           `json:"disruptionBudgets"`
	ChannelRefs       map[string]string      `json:"channelRefs,omitempty"`
	Meta              metaJSON               `json:"meta"`
}

type hostJSON struct {
	System      string   `json:"system"`
	Tags        []string `json:"tags"`
	Channel     string   `json:"channel"`
	ClosureHash string   `json:"closureHash,omitempty"`
	Pubkey      string   `json:"pubkey,omitempty"`
	Pin         *pinJSON `json:"pin,omitempty"`
}

type pinJSON struct {
	Commit    string `json:"commit"`
	Reason    string `json:"reason"`
	ExpiresAt string `json:"expiresAt,omitempty"`
}

type channelJSON struct {
	RolloutPolicy            string          `json:"rolloutPolicy"`
	ReconcileIntervalMinutes uint64          `json:"reconcileIntervalMinutes"`
	FreshnessWindow          uint64          `json:"freshnessWindow"`
	SigningIntervalMinutes   uint64          `json:"signingIntervalMinutes"`
	Compliance               json.RawMessage `json:"compliance,omitempty"`
}

type policyJSON struct {
	Strategy                 string           `json:"strategy"`
	Waves                    []policyWaveJSON `json:"waves"`
	HealthGate               json.RawMessage  `json:"healthGate"`
	OnHealthFailure          string           `json:"onHealthFailure"`
	SustainedFailureSeconds  uint64           `json:"sustainedFailureSeconds"`
	ActivationTimeoutSeconds uint64           `json:"activationTimeoutSeconds"`
}

type policyWaveJSON struct {
	Selector    selectorJSON `json:"selector"`
	SoakMinutes uint64       `json:"soakMinutes"`
	SoakSeconds *uint64      `json:"soakSeconds,omitempty"`
}

type waveJSON struct {
	Hosts       []string `json:"hosts"`
	SoakMinutes uint64   `json:"soakMinutes"`
	SoakSeconds *uint64  `json:"soakSeconds,omitempty"`
}

type selectorJSON struct {
	Tags    []string `json:"tags"`
	TagsAny []string `json:"tagsAny"`
	Hosts   []string `json:"hosts"`
	Channel string   `json:"channel,omitempty"`
	All     bool     `json:"all"`
}

type edgeJSON struct {
	Gated  string `json:"gated"`
	Gates  string `json:"gates"`
	Reason string `json:"reason,omitempty"`
}

type budgetJSON struct {
	Selector       selectorJSON `json:"selector"`
	MaxInFlight    *uint32      `json:"maxInFlight,omitempty"`
	MaxInFlightPct *uint32      `json:"maxInFlightPct,omitempty"`
}

type manifestBudgetJSON struct {
	Selector       selectorJSON `json:"selector"`
	Hosts          []string     `json:"hosts"`
	MaxInFlight    *uint32      `json:"maxInFlight,omitempty"`
	MaxInFlightPct *uint32      `json:"maxInFlightPct,omitempty"`
}

type metaJSON struct {
	SchemaVersion      uint64 `json:"schemaVersion"`
	SignedAt           string `json:"signedAt,omitempty"`
	CICommit           string `json:"ciCommit,omitempty"`
	SignatureAlgorithm string `json:"signatureAlgorithm,omitempty"`
}

type manifestJSON struct {
	SchemaVersion     uint64               `json:"schemaVersion"`
	DisplayName       string               `json:"displayName"`
	Channel           string               `json:"channel"`
	ChannelRef        string               `json:"channelRef"`
	FleetResolvedHash string               `json:"fleetResolvedHash"`
	HostSet           []hostSetJSON        `json:"hostSet"`
	HealthGate        json.RawMessage      `json:"healthGate"`
	DisruptionBudgets []manifestBudgetJSON `json:"disruptionBudgets"`
	Meta              metaJSON             `json:"meta"`
}

type hostSetJSON struct {
	Hostname      string `json:"hostname"`
	WaveIndex     uint32 `json:"waveIndex"`
	TargetClosure string `json:"targetClosure"`
}

type ticketJSON struct {
	SchemaVersion    uint64          `json:"schemaVersion"`
	Hostname         string          `json:"hostname"`
	RolloutID        string          `json:"rolloutId"`
	Channel          string          `json:"channel"`
	Wave             uint32          `json:"wave"`
	TargetClosure    string          `json:"targetClosure"`
	SoakSeconds      uint64          `json:"soakSeconds"`
	Policy           json.RawMessage `json:"policy"`
	FreshnessSeconds uint64          `json:"freshnessSeconds"`
	FleetHash        string          `json:"fleetHash"`
	SignedAt         string          `json:"signedAt,omitempty"`
}

type ticketPolicyJSON struct {
	OnHealthFailure          string          `json:"onHealthFailure"`
	SustainedFailureSeconds  uint64          `json:"sustainedFailureSeconds"`
	ActivationTimeoutSeconds uint64          `json:"activationTimeoutSeconds"`
	HealthGate               json.RawMessage `json:"healthGate"`
}

type revocationsJSON struct {
	SchemaVersion uint64           `json:"schemaVersion"`
	Revocations   []revocationJSON `json:"revocations"`
	Meta          metaJSON         `json:"meta"`
}

type revocationJSON struct {
	Hostname  string `json:"hostname"`
	NotBefore string `json:"notBefore"`
	Reason    string `json:"reason,omitempty"`
}

// marshal fails only on raw JSON that a caller made up and that is none.
func marshal(what string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDocument, what, err)
	}
	return data, nil
}

func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}

func eachNamed[A, B any](m map[string]A, f func(A) B) map[string]B {
	out := make(map[string]B, len(m))
	for name, v := range m {
		out[name] = f(v)
	}
	return out
}

// orEmpty writes a missing list as one that is empty: a reader may refuse null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// orObject writes a missing health gate as one that says nothing.
func orObject(raw []byte) json.RawMessage {
	if raw == nil {
		return json.RawMessage("{}")
	}
	return raw
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
