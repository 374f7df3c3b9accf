package core

import (
	"time"

	"nixfleet/clock"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
	"nixfleet/wire"
)

// Input is something that happened, for the core to decide on. Every worker speaks to the core in these and in
// nothing else. docs/design/04-agent.md, 4.1.
//
//sumtype:decl
type Input interface{ isInput() }

// Current is a reading of current-system.
type Current struct {
	Closure string        // "" if it could not be read
	Began   clock.Reading // when the reading began: one older than the last switch says nothing
}

// HostEvent is what a worker saw happen in a rollout. Its seq is the core's to give.
type HostEvent struct {
	RolloutID string
	Event     host.Event
}

// Dispatch says that it is this host's turn, and shows the ticket that says what to do.
type Dispatch struct {
	Message wire.Dispatch
	Ticket  trust.Verified[*fleet.Ticket]
	Current Current
	// Keys is the fingerprint of the trust file that the ticket was verified with; another one resets the floor.
	Keys string
	// MaxAge caps the ticket's own freshness; 0 leaves it.
	MaxAge time.Duration
}

// AdvanceTick lets time pass: verdicts, retries and what follows from current-system.
type AdvanceTick struct{ Current Current }

// Lost says that an attempt to switch left no result: it must be fired again, or has failed.
type Lost struct {
	RolloutID string
	Attempt   uint32
	Current   Current
}

// BootstrapHost offers what the control plane knew of this host, for a journal that was lost.
type BootstrapHost struct {
	Adoptions []Adoption
	Current   Current
	Pinned    []string // closures that the host itself keeps for a rollback
	Keys      string
	MaxAge    time.Duration
}

// Adoption is one snapshot with the ticket that vouches for it.
type Adoption struct {
	Snapshot wire.Snapshot
	Ticket   trust.Verified[*fleet.Ticket]
}

// Acked says that the control plane holds the event durably.
type Acked struct {
	RolloutID string
	Seq       uint64
}

// DeadLetter says that the control plane refuses the event itself.
type DeadLetter struct {
	RolloutID string
	Seq       uint64
	Status    int
	Reason    string
}

// ReplayFrom says that the control plane has nothing of the rollout above From: everything above it is owed again.
type ReplayFrom struct {
	RolloutID string
	From      uint64
}

// Fork says that the control plane holds other events under our numbers, Stored being its highest.
type Fork struct {
	RolloutID string
	Stored    uint64
	Epoch     string // a new random one
}

// WantRecord says that the control plane asks for the whole record.
type WantRecord struct{ RolloutID string }

// RecordSent says that it has got it.
type RecordSent struct{ RolloutID string }

// Scanned says how far the outbound queue has been read: everything before Cursor is settled. It holds only if the
// cursor still is From, since a replay may have sent it back meanwhile.
type Scanned struct{ From, Cursor Place }

// Place is a position in the journal: a segment and an offset in it, in bytes.
type Place struct {
	Segment uint64
	Offset  int64
}

func (HostEvent) isInput()     {}
func (Dispatch) isInput()      {}
func (AdvanceTick) isInput()   {}
func (Lost) isInput()          {}
func (BootstrapHost) isInput() {}
func (Acked) isInput()         {}
func (DeadLetter) isInput()    {}
func (ReplayFrom) isInput()    {}
func (Fork) isInput()          {}
func (WantRecord) isInput()    {}
func (RecordSent) isInput()    {}
func (Scanned) isInput()       {}
