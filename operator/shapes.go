package operator

import (
	"encoding/json"
	"time"
)

// Hosts is one page of hosts.
type Hosts struct {
	Hosts []Host `json:"hosts"`
	Next  string `json:"next,omitempty"` // after= for the next page
}

// Host is one host at a glance: what it last said, and where the mirror has it.
type Host struct {
	Hostname       string    `json:"hostname"`
	RolloutID      string    `json:"rolloutId,omitempty"`
	State          string    `json:"state,omitempty"`
	CurrentClosure string    `json:"currentClosure,omitempty"`
	LastSeen       time.Time `json:"lastSeen,omitzero"`
	AgentVersion   string    `json:"agentVersion,omitempty"`
	Held           string    `json:"held,omitempty"`
	Degraded       string    `json:"degraded,omitempty"`
}

// Wave counts the hosts of one wave by what they do.
type Wave struct {
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

// Rollouts is a list of rollouts, newest first.
type Rollouts struct {
	Rollouts []Rollout `json:"rollouts"`
}

// Rollout is one rollout and its waves.
type Rollout struct {
	RolloutID    string    `json:"rolloutId"`
	Channel      string    `json:"channel"`
	State        string    `json:"state"`
	Wave         uint32    `json:"wave"` // index of the current one
	Newest       bool      `json:"newest"`
	OpenedAt     time.Time `json:"openedAt,omitzero"`
	ChangedAt    time.Time `json:"changedAt,omitzero"`
	HaltedBy     string    `json:"haltedBy,omitempty"`
	SupersededBy string    `json:"supersededBy,omitempty"`
	Waves        []Wave    `json:"waves"`
}

// Overview is the fleet at a glance.
type Overview struct {
	Hosts       int            `json:"hosts"`
	Held        int            `json:"held"`
	States      map[string]int `json:"states"`
	Quarantines int            `json:"quarantines"`
	LogSeq      uint64         `json:"logSeq"`
	LogHead     string         `json:"logHead"`
	Rollouts    []Rollout      `json:"rollouts"`
}

// Fact is one thing a gate looked at.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Reason is why a host does not advance: the gate, what it looked at, who owns the next step, what would unblock it
// and the earliest time that can be.
type Reason struct {
	Gate     string    `json:"gate"`
	Text     string    `json:"text"`
	Facts    []Fact    `json:"facts"`
	Owner    string    `json:"owner"`
	Unblocks string    `json:"unblocks"`
	Earliest time.Time `json:"earliest,omitzero"`
	StaleAt  time.Time `json:"staleAt,omitzero"` // when the signature grows stale, if that is near
}

// Why is a host and its one current reason; nil: nothing is in the way.
type Why struct {
	Host   Host    `json:"host"`
	Reason *Reason `json:"reason"`
}

// Quarantines lists the closures that are refused, cleared ones included.
type Quarantines struct {
	Quarantines []Quarantine `json:"quarantines"`
}

// Quarantine is one closure that a channel refuses.
type Quarantine struct {
	Channel   string    `json:"channel"`
	Closure   string    `json:"closure"`
	At        time.Time `json:"at"`
	Hostname  string    `json:"hostname,omitempty"`
	RolloutID string    `json:"rolloutId,omitempty"`
	Cause     uint64    `json:"cause"` // seq of the log row
	ClearedAt time.Time `json:"clearedAt,omitzero"`
	ClearedBy string    `json:"clearedBy,omitempty"`
}

// Trace is a page of rows of the event log, each as an export has it.
type Trace struct {
	Rows []json.RawMessage `json:"rows"`
	Next uint64            `json:"next,omitempty"` // after= for the next page
}
