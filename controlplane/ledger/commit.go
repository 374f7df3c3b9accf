package ledger

import "time"

// EventKey names one event of one agent.
type EventKey struct {
	Host, RolloutID string
	Seq             uint64
}

// Commit is everything one batch of the reducer writes, in one transaction. The views are upserts by their key.
type Commit struct {
	Rows        []Row
	Records     []RecordView
	Rollouts    []RolloutView
	Quarantines []QuarantineView
	Dispatches  []DispatchView
	Holds       []HoldView
	Failures    []ProbeFailureView
	Parked      []ParkedView
	Policies    []Policy
	Tickets     []Ticket
	Hosts       []HostStatus
	Meta        map[string]string // what the control plane must remember of itself
}

// Empty says whether there is nothing to write.
func (c *Commit) Empty() bool {
	return len(c.Rows) == 0 && len(c.Records) == 0 && len(c.Rollouts) == 0 && len(c.Quarantines) == 0 && len(c.Dispatches) == 0 &&
		len(c.Holds) == 0 && len(c.Failures) == 0 && len(c.Parked) == 0 && len(c.Policies) == 0 && len(c.Tickets) == 0 &&
		len(c.Hosts) == 0 && len(c.Meta) == 0
}

// RecordView is the mirror of one host in one rollout.
type RecordView struct {
	Host, RolloutID string
	Cause           uint64 // the row that last changed it
	Highest         uint64 // highest event seq stored, stepped or not
	State           string // "" while the rollout is unknown
	Record          []byte // JSON of the record, nil while the rollout is unknown
	Want            string // why the agent's own record is asked for, "" if it is not
	Cleared         bool   // an operator took it out of the rollout's promotion
	Gone            bool   // the rollout was pruned: deletes it
}

// RolloutView is one rollout.
type RolloutView struct {
	ID, Channel, State string
	Wave               uint32
	OpenedAt           time.Time
	Cause              uint64
	Body               []byte // JSON of what the planner keeps of it
}

// QuarantineView is one closure refused on one channel; it stays when it is cleared.
type QuarantineView struct {
	Channel, Closure string
	Cause            uint64
	At               time.Time
	Host, RolloutID  string // whose failure caused it
	ClearedAt        time.Time
	ClearedBy        string
	ClearedCause     uint64
}

// DispatchView is the dispatch a host has not acknowledged; Gone deletes it.
type DispatchView struct {
	Host, RolloutID string
	Cause           uint64
	Written         bool // was part of a response at least once
	Body            []byte
	Gone            bool
}

// HoldView is the reason a host is held for; Gone deletes it.
type HoldView struct {
	Host, Kind, Reason string
	Since              time.Time
	Cause              uint64
	Gone               bool
}

// ProbeFailureView is the last failure of one probe on one host in one rollout.
type ProbeFailureView struct {
	Host, RolloutID, Probe string
	Cause                  uint64
	At                     time.Time
	Mode, Reason           string
}

// ParkedView is an event of a rollout that was not known when it came; Gone deletes it.
type ParkedView struct {
	Key   EventKey
	Cause uint64
	Gone  bool
}

// Policy is a captured policy by its hash.
type Policy struct {
	Hash string
	Body []byte
}

// Ticket is a signed ticket as it was published.
type Ticket struct {
	RolloutID, Host string
	Hash            string
	Raw, Signature  []byte
}

// HostStatus is what must survive of a host's heartbeats.
type HostStatus struct {
	Host string
	Body []byte
}

// Image is everything a control plane remembers, as read at its start.
type Image struct {
	Head        Head
	Records     []RecordView
	Rollouts    []RolloutView
	Quarantines []QuarantineView
	Dispatches  []DispatchView
	Holds       []HoldView
	Failures    []ProbeFailureView
	Parked      []Row // events of rollouts not known yet, in order of their rows
	Policies    []Policy
	Hosts       []HostStatus
	Meta        map[string]string
}
