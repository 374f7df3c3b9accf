package api

import (
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
)

// The JSON of the operator API.

type hostsJSON struct {
	Hosts []hostJSON `json:"hosts"`
	Next  string     `json:"next,omitempty"` // ?after= for the next page
}

type hostJSON struct {
	Hostname       string    `json:"hostname"`
	RolloutID      string    `json:"rolloutId,omitempty"`
	State          string    `json:"state,omitempty"`
	CurrentClosure string    `json:"currentClosure,omitempty"`
	LastSeen       time.Time `json:"lastSeen,omitzero"`
	AgentVersion   string    `json:"agentVersion,omitempty"`
	Held           string    `json:"held,omitempty"`
	Degraded       string    `json:"degraded,omitempty"`
}

func hostOf(h *core.HostSummary) hostJSON {
	return hostJSON{
		Hostname: h.Host, RolloutID: h.RolloutID, State: h.State, CurrentClosure: h.Current, LastSeen: h.LastSeen,
		AgentVersion: h.AgentVersion, Held: h.Held, Degraded: h.Degraded,
	}
}

type waveJSON struct {
	Hosts      int `json:"hosts"`
	Waiting    int `json:"waiting"`
	Dispatched int `json:"dispatched"`
	Activating int `json:"activating"`
	Deferred   int `json:"deferred"`
	Soaking    int `json:"soaking"`
	Converged  int `json:"converged"`
	Failed     int `json:"failed"`
	Reverted   int `json:"reverted"`
	Cleared    int `json:"cleared"`
	Superseded int `json:"superseded"`
	Skipped    int `json:"skipped"`
}

type rolloutJSON struct {
	RolloutID    string     `json:"rolloutId"`
	Channel      string     `json:"channel"`
	State        string     `json:"state"`
	Wave         uint32     `json:"wave"`
	Newest       bool       `json:"newest"`
	OpenedAt     time.Time  `json:"openedAt,omitzero"`
	ChangedAt    time.Time  `json:"changedAt,omitzero"`
	HaltedBy     string     `json:"haltedBy,omitempty"`
	SupersededBy string     `json:"supersededBy,omitempty"`
	Waves        []waveJSON `json:"waves"`
}

func rolloutOf(r *core.RolloutSummary) rolloutJSON {
	out := rolloutJSON{
		RolloutID: r.Record.ID, Channel: r.Record.Channel, State: r.Record.State.String(), Wave: r.Record.Wave, Newest: r.Newest,
		OpenedAt: r.Record.OpenedAt, ChangedAt: r.Record.ChangedAt, HaltedBy: r.Record.HaltedBy, SupersededBy: r.Record.SupersededBy,
		Waves: make([]waveJSON, len(r.Waves)),
	}
	for i, w := range r.Waves {
		out.Waves[i] = waveJSON{
			Hosts: w.Hosts, Waiting: w.Waiting, Dispatched: w.Dispatched, Activating: w.Activating, Deferred: w.Deferred, Soaking: w.Soaking,
			Converged: w.Converged, Failed: w.Failed, Reverted: w.Reverted, Cleared: w.Cleared, Superseded: w.Superseded, Skipped: w.Skipped,
		}
	}
	return out
}

func rolloutsOf(list []core.RolloutSummary) []rolloutJSON {
	out := make([]rolloutJSON, len(list))
	for i := range list {
		out[i] = rolloutOf(&list[i])
	}
	return out
}

type overviewJSON struct {
	Hosts       int            `json:"hosts"`
	Held        int            `json:"held"`
	States      map[string]int `json:"states"`
	Quarantines int            `json:"quarantines"`
	LogSeq      uint64         `json:"logSeq"`
	LogHead     string         `json:"logHead"`
	Rollouts    []rolloutJSON  `json:"rollouts"`
}

func overviewOf(o *core.Overview) overviewJSON {
	return overviewJSON{
		Hosts: o.Hosts, Held: o.Held, States: o.States, Quarantines: o.Quarantines, LogSeq: o.LogSeq, LogHead: o.LogHead, Rollouts: rolloutsOf(o.Rollouts),
	}
}

type factJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type reasonJSON struct {
	Gate     string     `json:"gate"`
	Text     string     `json:"text"`
	Facts    []factJSON `json:"facts"`
	Owner    string     `json:"owner"`
	Unblocks string     `json:"unblocks"`
	Earliest time.Time  `json:"earliest,omitzero"`
	StaleAt  time.Time  `json:"staleAt,omitzero"`
}

type whyJSON struct {
	Host   hostJSON    `json:"host"`
	Reason *reasonJSON `json:"reason"` // null: nothing is in the way
}

func whyOf(w *core.Why) whyJSON {
	out := whyJSON{Host: hostOf(&w.Host)}
	if !w.Waiting {
		return out
	}
	r := &w.Reason
	out.Reason = &reasonJSON{
		Gate: r.Gate.String(), Text: r.Text, Facts: make([]factJSON, len(r.Facts)), Owner: r.Owner.String(), Unblocks: r.Unblocks,
		Earliest: r.Earliest, StaleAt: r.StaleAt,
	}
	for i, f := range r.Facts {
		out.Reason.Facts[i] = factJSON{f.Name, f.Value}
	}
	return out
}

type quarantineJSON struct {
	Channel   string    `json:"channel"`
	Closure   string    `json:"closure"`
	At        time.Time `json:"at"`
	Hostname  string    `json:"hostname,omitempty"`
	RolloutID string    `json:"rolloutId,omitempty"`
	Cause     uint64    `json:"cause"` // the seq of the log row
	ClearedAt time.Time `json:"clearedAt,omitzero"`
	ClearedBy string    `json:"clearedBy,omitempty"`
}

func quarantinesOf(list []ledger.QuarantineView) []quarantineJSON {
	out := make([]quarantineJSON, len(list))
	for i, q := range list {
		out[i] = quarantineJSON{
			Channel: q.Channel, Closure: q.Closure, At: q.At, Hostname: q.Host, RolloutID: q.RolloutID, Cause: q.Cause, ClearedAt: q.ClearedAt, ClearedBy: q.ClearedBy,
		}
	}
	return out
}
