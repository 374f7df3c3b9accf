package core

import (
	"maps"
	"slices"
	"time"

	"nixfleet/clock"
	"nixfleet/host"
)

// Bounds of what a core keeps.
const (
	// KeptFinished is how many finished rollouts a host remembers besides the active one, so that a control plane
	// that was wiped can be told the recent past.
	KeptFinished = 8
	// MaxDeadLetters is how many refused events are remembered by name; beyond it the oldest are only counted.
	MaxDeadLetters = 256
	// MaxAbsentRecords is how many rollouts the host does not have it will say so about at a time.
	MaxAbsentRecords = 16
)

// rollout is everything the host knows of one rollout. Values in a committed state are never written again: a turn
// edits a copy.
type rollout struct {
	rec    host.Record
	policy host.Policy // captured with the ticket, for ever
	ticket []byte      // the signed document as received
	sig    []byte

	acked uint64 // the highest seq the control plane confirmed
	done  uint64 // up to here nothing is owed: confirmed, refused, or never to be sent
	base  uint64 // numbers up to here are taken, by events of another history
	dead  []Refused
	owed  bool // the control plane asked for the whole record
	dirty bool // the accounting above has changed since the last frame

	fires   uint32 // attempts fired in the present direction
	settled uint32 // attempts of those whose failure was reported
	// How long, by boot-time, the host has soaked, failed, and waited since a rollback failed.
	soaked, streaked, waited time.Duration
	lastAt                   time.Time // of the latest event
	deferredBoot             string    // the boot in which the switch was deferred
}

// Refused is one event that the control plane will not have.
type Refused struct {
	Seq    uint64
	Status int
	Reason string
}

// Floor is the newest ticket ever accepted: an older one is a step back.
type Floor struct {
	SignedAt time.Time
	Keys     string // fingerprint of the trust file it was accepted under
}

// state is all of a core. A committed one is read only.
type state struct {
	rollouts map[string]*rollout
	order    []string // by acceptance, oldest first
	last     clock.Reading
	switched clock.Reading // when the last switch ended
	floor    Floor
	epoch    string
	absent   []string
	cursor   Place
	code     string // version of the program that wrote the last frame
	boot     string // boot in which it was written
	adopts   bool   // nothing was known when the agent started: snapshots may be adopted
	drifted  string
}

func newState() *state { return &state{rollouts: map[string]*rollout{}} }

// copied gives a state that may be changed; its rollouts are still shared, see edit.
func (s *state) copied() *state {
	c := *s
	c.rollouts = maps.Clone(s.rollouts)
	c.order = slices.Clone(s.order)
	return &c
}

// nextSeq is the number of the next event.
func (r *rollout) nextSeq() uint64 { return max(r.rec.LastEventSeq, r.base) + 1 }

// live says whether something may still happen by itself.
func (r *rollout) live() bool {
	return r.rec.SupersededBy == "" && (r.rec.State.Live() || host.Owed(&r.rec))
}

// switching says whether a switch is owed in either direction.
func (r *rollout) switching() bool {
	return r.rec.SupersededBy == "" && (r.rec.State == host.Activating || host.Owed(&r.rec))
}

// active returns the rollout the host is in: the last accepted one.
func (s *state) active() (string, *rollout) {
	if len(s.order) == 0 {
		return "", nil
	}
	id := s.order[len(s.order)-1]
	return id, s.rollouts[id]
}

// age lets the time from the last reading to now pass. Within one boot boot-time counts, so a jump of the wall clock
// changes nothing; across boots the wall difference does.
func (s *state) age(now clock.Reading) {
	if s.last.BootID != "" {
		if d := clock.Elapsed(s.last, now); d > 0 {
			for id, r := range s.rollouts {
				if r.live() {
					c := *r
					c.soaked, c.streaked, c.waited = c.soaked+d, c.streaked+d, c.waited+d
					s.rollouts[id] = &c
				}
			}
		}
	}
	s.last = now
}

// stale says whether a reading cannot be believed: unreadable, or begun before the host's last switch ended.
func (s *state) stale(c Current) bool {
	return c.Closure == "" || (c.Began.BootID == s.switched.BootID && c.Began.Boot < s.switched.Boot)
}
