package core

import (
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/rollout"
	"nixfleet/trust"
	"nixfleet/wire"
)

// Input is something that reached the control plane: one value struct per kind.
//
//sumtype:decl
type Input interface{ isInput() }

// Received is one envelope of a host as it came, with what needs no state worked out beforehand.
type Received struct {
	Envelope  wire.Envelope
	Raw       []byte      // the whole envelope as received
	Canonical []byte      // its canonical form
	EventHash ledger.Hash // SHA-256 of the canonical event
	// Refused, when not 0, is the HTTP status of an envelope that is bad in itself, and Reason says why.
	Refused int
	Reason  string
}

// Events are the envelopes of one request, in order. Answered with [EventsAnswer].
type Events struct {
	Host     string
	Received []Received
}

// Beat is a heartbeat. Answered with [BeatAnswer].
type Beat struct{ Heartbeat wire.Heartbeat }

// Poll asks for the host's dispatch. Have names one the host holds already. Answered with [PollAnswer].
type Poll struct{ Host, Have string }

// RecordReport is an agent's own record of one rollout. Signed says that its signature was checked, or that the
// fleet has no key to check it with. Answered with [StatusAnswer].
type RecordReport struct {
	Message   wire.RecordMessage
	Raw       []byte
	Canonical []byte
	Signed    bool
}

// DocumentsChanged brings the verified documents that are in force from now on. Answered with [NoAnswer].
type DocumentsChanged struct{ Documents *Documents }

// Tick lets the planner look at what time alone changed. Answered with [NoAnswer].
type Tick struct{}

// Clear is an operator's clearance of a halted rollout. Answered with [StatusAnswer].
type Clear struct{ RolloutID, By, Reason string }

// ClearQuarantine lets a closure go out on a channel again. Answered with [StatusAnswer].
type ClearQuarantine struct{ Channel, Closure, By string }

// Release ends a hold on a host. Answered with [StatusAnswer].
type Release struct{ Host, By string }

// Ask is a question of an operator; it changes nothing. Answered with what the question names.
type Ask struct{ Question Question }

func (Events) isInput()           {}
func (Beat) isInput()             {}
func (Poll) isInput()             {}
func (RecordReport) isInput()     {}
func (DocumentsChanged) isInput() {}
func (Tick) isInput()             {}
func (Clear) isInput()            {}
func (ClearQuarantine) isInput()  {}
func (Release) isInput()          {}
func (Ask) isInput()              {}

// AllInputs holds one value of every input type; a test compares it with the types that carry the marker.
var AllInputs = []Input{
	Events{}, Beat{}, Poll{}, RecordReport{}, DocumentsChanged{}, Tick{}, Clear{}, ClearQuarantine{}, Release{}, Ask{},
}

// Documents are the signed documents in force. The value is never changed once it was handed over.
type Documents struct {
	Fleet     trust.Verified[*fleet.Fleet]
	Manifests map[string]trust.Verified[*fleet.Manifest] // by rollout id
}

// TicketKey names a ticket.
type TicketKey struct{ RolloutID, Host string }

// Recalled is what a batch needs from outside the core: see [Core.Recall].
type Recalled struct {
	Hashes  map[ledger.EventKey]ledger.Hash
	Tickets map[TicketKey]trust.Verified[*fleet.Ticket] // those that exist
}

// Wanted names what a batch needs from outside the core.
type Wanted struct {
	Hashes  []ledger.EventKey
	Tickets []TicketKey
}

// Answer is what an input is answered with once the commit is durable.
//
//sumtype:decl
type Answer interface{ isAnswer() }

// NoAnswer answers inputs nobody waits for.
type NoAnswer struct{}

// EventsAnswer has one result per envelope, in order.
type EventsAnswer struct{ Results []wire.BatchResult }

// BeatAnswer answers a heartbeat.
type BeatAnswer struct{ Answer wire.HeartbeatAnswer }

// PollAnswer carries the dispatch, nil for none.
type PollAnswer struct{ Dispatch *wire.Dispatch }

// StatusAnswer is an HTTP status with a reason.
type StatusAnswer struct {
	Status int
	Reason string
}

// HostsAnswer answers [AskHosts].
type HostsAnswer struct {
	Hosts []HostSummary
	Next  string // ask for hosts after this one; "" at the end
}

// RolloutsAnswer answers [AskRollouts].
type RolloutsAnswer struct{ Rollouts []RolloutSummary }

// WhyAnswer answers [AskWhy].
type WhyAnswer struct {
	Known bool
	Why   Why
}

// QuarantinesAnswer answers [AskQuarantines].
type QuarantinesAnswer struct{ Quarantines []ledger.QuarantineView }

// OverviewAnswer answers [AskOverview].
type OverviewAnswer struct{ Overview Overview }

func (NoAnswer) isAnswer()          {}
func (EventsAnswer) isAnswer()      {}
func (BeatAnswer) isAnswer()        {}
func (PollAnswer) isAnswer()        {}
func (StatusAnswer) isAnswer()      {}
func (HostsAnswer) isAnswer()       {}
func (RolloutsAnswer) isAnswer()    {}
func (WhyAnswer) isAnswer()         {}
func (QuarantinesAnswer) isAnswer() {}
func (OverviewAnswer) isAnswer()    {}

// Question is something an operator wants to know.
//
//sumtype:decl
type Question interface{ isQuestion() }

// AskHosts lists hosts in order of name, at most Limit of them, from behind After. RolloutID "" means all hosts.
type AskHosts struct {
	After     string
	Limit     int
	RolloutID string
}

// AskRollouts lists the rollouts, newest first; with an id just that one.
type AskRollouts struct{ RolloutID string }

// AskWhy asks why a host does not advance.
type AskWhy struct{ Host string }

// AskQuarantines lists the quarantines, cleared ones included.
type AskQuarantines struct{}

// AskOverview asks for the fleet at a glance.
type AskOverview struct{}

func (AskHosts) isQuestion()       {}
func (AskRollouts) isQuestion()    {}
func (AskWhy) isQuestion()         {}
func (AskQuarantines) isQuestion() {}
func (AskOverview) isQuestion()    {}

// HostSummary is one host at a glance.
type HostSummary struct {
	Host         string
	RolloutID    string // of its newest record, "" none
	State        string
	Current      string // the closure it last reported
	LastSeen     time.Time
	AgentVersion string
	Held         string // why, "" not held
	Degraded     string
}

// RolloutSummary is one rollout at a glance.
type RolloutSummary struct {
	Record rollout.Record
	Newest bool // of its channel
	Waves  []rollout.WaveCount
}

// Why says where a host stands and the one reason for which it does not advance.
type Why struct {
	Host    HostSummary
	Reason  rollout.Reason
	Waiting bool // there is a reason
}

// Overview is the fleet at a glance.
type Overview struct {
	Hosts, Held int
	States      map[string]int // hosts by state of their newest record
	Rollouts    []RolloutSummary
	Quarantines int
	LogSeq      uint64
	LogHead     string
}
