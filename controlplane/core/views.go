package core

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// writeViews adds the view of every mirror that the batch changed, once each and in order.
func (t *tx) writeViews() {
	keys := make([]recordKey, 0, len(t.written))
	for key := range t.written {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b recordKey) int {
		return slices.Compare([]string{a.host, a.rollout}, []string{b.host, b.rollout})
	})
	for _, key := range keys {
		if m := t.hosts[key.host].mirror(key.rollout); m != nil {
			t.out.Ledger.Records = append(t.out.Ledger.Records, m.view(key.host))
		} else {
			t.out.Ledger.Records = append(t.out.Ledger.Records, ledger.RecordView{Host: key.host, RolloutID: key.rollout, Gone: true})
		}
	}
}

func (m *mirror) view(hostname string) ledger.RecordView {
	v := ledger.RecordView{Host: hostname, RolloutID: m.rollout, Cause: m.cause, Highest: m.highest, Want: m.want, Cleared: m.cleared}
	if m.record != nil {
		v.State, v.Record = m.record.State.String(), wire.AppendRecord(nil, m.record)
	}
	return v
}

// rolloutJSON is what is stored of a rollout.
type rolloutJSON struct {
	ID           string    `json:"rolloutId"`
	Channel      string    `json:"channel"`
	State        string    `json:"state"`
	Wave         uint32    `json:"wave"`
	Waves        uint32    `json:"waves"`
	WaivedWaves  uint32    `json:"waivedWaves,omitempty"`
	OpenedAt     time.Time `json:"openedAt,omitzero"`
	ChangedAt    time.Time `json:"changedAt,omitzero"`
	HaltedBy     string    `json:"haltedBy,omitempty"`
	SupersededBy string    `json:"supersededBy,omitempty"`
}

func encodeRollout(r *rollout.Record) ([]byte, error) {
	body, err := json.Marshal(rolloutJSON{
		ID: r.ID, Channel: r.Channel, State: r.State.String(), Wave: r.Wave, Waves: r.Waves, WaivedWaves: r.WaivedWaves,
		OpenedAt: r.OpenedAt, ChangedAt: r.ChangedAt, HaltedBy: r.HaltedBy, SupersededBy: r.SupersededBy,
	})
	if err != nil {
		return nil, fmt.Errorf("core: encode rollout %s: %w", r.ID, err)
	}
	return body, nil
}

func decodeRollout(body []byte) (*rollout.Record, error) {
	var j rolloutJSON
	if err := json.Unmarshal(body, &j); err != nil {
		return nil, fmt.Errorf("core: decode a rollout: %w", err)
	}
	state, err := rollout.ParseState(j.State)
	if err != nil {
		return nil, err
	}
	return &rollout.Record{
		ID: j.ID, Channel: j.Channel, State: state, Wave: j.Wave, Waves: j.Waves, WaivedWaves: j.WaivedWaves,
		OpenedAt: j.OpenedAt, ChangedAt: j.ChangedAt, HaltedBy: j.HaltedBy, SupersededBy: j.SupersededBy,
	}, nil
}

// beatJSON is what is stored of a host's heartbeats.
type beatJSON struct {
	LastSeen time.Time `json:"lastSeen"`
	Version  string    `json:"agentVersion,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Retired  []string  `json:"retiredInstances,omitempty"`
	Current  string    `json:"currentClosure,omitempty"`
}

func encodeBeat(b *beat) ([]byte, error) {
	body, err := json.Marshal(beatJSON{LastSeen: b.lastSeen, Version: b.version, Instance: b.instance, Retired: b.retired, Current: b.current})
	if err != nil {
		return nil, fmt.Errorf("core: encode a heartbeat: %w", err)
	}
	return body, nil
}

func decodeBeat(body []byte) (beat, error) {
	var j beatJSON
	if err := json.Unmarshal(body, &j); err != nil {
		return beat{}, fmt.Errorf("core: decode a heartbeat: %w", err)
	}
	b := beat{lastSeen: j.LastSeen, version: j.Version, instance: j.Instance, retired: j.Retired, current: j.Current, persisted: j.LastSeen}
	b.persistedAs = b.identity()
	return b, nil
}

// identity is what a heartbeat is stored at once for when it changes; retired instances change with the instance.
func (b *beat) identity() string { return b.version + "\x00" + b.instance + "\x00" + b.current }

func encodePolicy(p *host.Policy) []byte { return wire.AppendPolicy(nil, p) }

func decodePolicy(body []byte) (host.Policy, error) {
	v, err := strictjson.Parse(body, strictjson.DefaultLimits)
	if err != nil {
		return host.Policy{}, err
	}
	return wire.DecodePolicy(v.Object())
}
