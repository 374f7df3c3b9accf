package core

import (
	"slices"
	"sort"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// Bounds of what one host can make the control plane keep.
const (
	maxUnknownRollouts = 16   // rollouts that nobody published; a host has one live one and replays eight
	maxParked          = 4096 // events of one of them, until it is known: a day of ten probes that change every minute
	maxRetired         = 8    // instances a host is remembered to have had: a restart a minute for the span of a clone's alternation
)

// cloneQuiet is how long one instance alone must be seen until a host held as a clone is released.
const cloneQuiet = 10 * time.Minute

// persistEvery is how stale a host's stored last contact may be. It is compared with offlineAfter, a day; storing
// every heartbeat would be most of what is written.
const persistEvery = 10 * time.Minute

// The kinds of holds.
const (
	HoldDiverged = "diverged" // an event contradicts the mirror: the agent's record is asked for
	HoldClone    = "clone"    // two live machines with one identity
)

// hold keeps a host from being dispatched.
type hold struct {
	kind, reason string
	since        time.Time
	cause        uint64
}

// mirror is one host in one rollout as the control plane knows it. Records are never written once they are here.
type mirror struct {
	rollout string
	record  *host.Record // nil while the rollout is unknown
	policy  *host.Policy // what its events are stepped with
	highest uint64       // highest event seq stored, stepped or not
	want    string       // why the agent's own record is asked for
	cleared bool
	cause   uint64
	parked  []*ledger.Row // in order of their rows
}

// dispatch is a host's turn until it is acknowledged.
type dispatch struct {
	message wire.Dispatch
	written bool
	cause   uint64
}

// beat is what heartbeats said last.
type beat struct {
	lastSeen  time.Time // by our clock
	at        time.Time // by the host's
	version   string    // of the agent; "" for one of the original
	instance  string
	retired   []string // instances seen before, newest last
	lastClone time.Time
	epoch     string
	bootID    string
	current   string
	probes    map[string]host.Status
	live      string // the rollout it works on
	behind    bool   // it acknowledged events that are not stored here: a replay was asked for
	refused   *wire.RefusedDispatch
	degraded  string
	drifted   string
	heard     bool // since this process started

	persisted   time.Time // lastSeen as it is stored
	persistedAs string    // the rest of what is stored
}

// hostState is everything about one host. It is copied before it is changed.
type hostState struct {
	name     string
	mirrors  []mirror // in order of rollout id; a host has a handful
	dispatch *dispatch
	holds    []hold
	beat     beat
}

func (h *hostState) clone() *hostState {
	c := *h
	c.mirrors = slices.Clone(h.mirrors)
	c.holds = slices.Clone(h.holds)
	return &c
}

func (h *hostState) find(rolloutID string) (int, bool) {
	i := sort.Search(len(h.mirrors), func(i int) bool { return h.mirrors[i].rollout >= rolloutID })
	return i, i < len(h.mirrors) && h.mirrors[i].rollout == rolloutID
}

// mirror returns the mirror of a rollout, nil if there is none.
func (h *hostState) mirror(rolloutID string) *mirror {
	if i, ok := h.find(rolloutID); ok {
		return &h.mirrors[i]
	}
	return nil
}

// open returns the mirror of a rollout and makes it if there is none.
func (h *hostState) open(rolloutID string) *mirror {
	i, ok := h.find(rolloutID)
	if !ok {
		h.mirrors = slices.Insert(h.mirrors, i, mirror{rollout: rolloutID})
	}
	return &h.mirrors[i]
}

// unknown counts the mirrors without a record.
func (h *hostState) unknown() int {
	n := 0
	for i := range h.mirrors {
		if h.mirrors[i].record == nil {
			n++
		}
	}
	return n
}

// newest returns the record dispatched last, nil if there is none. Later rollout ids win a tie, for one answer.
func (h *hostState) newest() *host.Record {
	var found *host.Record
	for i := range h.mirrors {
		r := h.mirrors[i].record
		if r != nil && r.SupersededBy == "" && (found == nil || !r.DispatchedAt.Before(found.DispatchedAt)) {
			found = r
		}
	}
	return found
}

// held returns why the host is held, "" if it is not.
func (h *hostState) held() string {
	if len(h.holds) == 0 {
		return ""
	}
	return h.holds[0].kind + ": " + h.holds[0].reason
}

func (h *hostState) holding(kind string) *hold {
	for i := range h.holds {
		if h.holds[i].kind == kind {
			return &h.holds[i]
		}
	}
	return nil
}

// quarantineKey names a quarantine.
type quarantineKey struct{ channel, closure string }

// Core is the state of the control plane. It belongs to one goroutine.
type Core struct {
	settings    rollout.Settings
	head        ledger.Head
	hosts       map[string]*hostState
	quarantines map[quarantineKey]*ledger.QuarantineView
	rollouts    map[string]*rollout.Record
	causes      map[string]uint64 // of the rollouts, by id
	policies    map[string]*host.Policy
	interned    map[[32]byte]*host.Policy // by the hash of its JSON
	documents   *Documents
	planner     *rollout.Planner
	parked      map[TicketKey]struct{} // mirrors with parked events
}
