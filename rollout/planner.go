package rollout

import (
	"slices"
	"strings"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
)

// Planner holds the facts a plan is made from and indexes over them that every change keeps up to date, so that a
// pass costs what changed and not what the fleet has. It is a plain value without locks: one goroutine uses it.
type Planner struct {
	settings  Settings
	startedAt time.Time
	warmUntil time.Time // until then a channel waits for its hosts to be heard
	now       time.Time // the latest time it was told

	fleet     *fleet.Fleet
	hosts     []hostState
	hostOf    map[string]int32
	waits     map[int32][]int32 // host: the hosts that go first, by name
	opens     map[int32][]int32 // host: the hosts that go after it
	channels  map[string]*channelState
	rollouts  map[string]*rolloutState
	order     []*rolloutState // all of them, by channel and then id
	groups    []*group        // by selector
	timers    timerHeap
	quarantin map[quarantine]bool

	changed  bool    // rollouts came or went: order is to be made again
	freed    []int32 // groups with a slot more than at the last pass
	regroup  bool    // the newest manifests changed: groups are to be made again
	undoing  bool    // between Begin and Commit or Rollback
	undoList []func()
	refusal  error
	out      []Action // of the pass in progress
	shared   map[sharedReason]*Reason
}

type quarantine struct{ channel, closure string }

// hostState is one host, whatever the rollout.
type hostState struct {
	name     string
	channel  *channelState // of the fleet; nil: not listed
	status   HostStatus
	slots    []place // where it appears, at most one per rollout
	groups   []int32 // budgets it falls under, ascending
	listedAt time.Time
	timerAt  int64 // its earliest entry in timers, unix nanoseconds, 0 none
	inFlight int32 // slots of it that are in flight
	quiet    bool  // silent for SilentIntervals
	offline  bool  // silent beyond OfflineAfter
	counted  bool  // counts in its groups
}

// place is a host's slot in a rollout.
type place struct {
	rollout *rolloutState
	slot    int32
}

// channelState is one channel.
type channelState struct {
	name        string
	newest      *rolloutState // nil: no manifest yet
	window      time.Duration // how long its signatures hold; 0 no limit
	unheard     int           // listed hosts not heard since the start
	quarantines int
	after       []string // channels whose newest rollout must be Terminal first, sorted
}

// rolloutState is one rollout with a slot per host.
type rolloutState struct {
	id       string
	channel  string
	rec      Record
	manifest *fleet.Manifest // nil: only what hosts report is known
	budgets  []budget        // of the manifest, resolved
	slots    []slot          // of the manifest by wave and name, then of hosts it does not list
	listed   int             // how many the manifest lists
	waves    []waveState
	count    [phases]int32
	inFlight int32

	pending bitset // listed slots that wait for a dispatch
	issued  bitset // slots with a dispatch that is not acknowledged
	dirty   bitset // slots to look at in the next pass
	parked  map[int32]bitset

	anyDirty bool
	moved    bool // counts changed: the machine may have something to do
	block    rolloutBlock
}

// slotFacts is what the planner was told about one host in one rollout.
type slotFacts struct {
	record   *host.Record
	dispatch Dispatch
	cleared  bool
}

type slot struct {
	slotFacts
	host   int32
	entry  int32 // in the manifest's host set, -1: not listed
	wave   int32 // -1: not listed
	parked int32 // the budget it waits for, -1 none
	told   Gate  // what the last DeferDispatch said
	stand  standing
}

// waveState counts one wave. start and end are its slots.
type waveState struct {
	start, end  int
	count       [phases]int32
	skippedOpen int32 // skipped, and neither converged nor deferred
	skippedLeft int32 // skipped and not converged
	failing     int32 // not skipped, an enforce probe fails now
}

// NewPlanner returns a planner that knows nothing yet. startedAt is when this control plane started: warm-up counts
// from it. emptyStore says that the store had nothing in it.
func NewPlanner(s Settings, startedAt time.Time, emptyStore bool) *Planner {
	p := &Planner{
		settings: s, startedAt: startedAt, now: startedAt, warmUntil: startedAt.Add(s.silence()),
		hostOf: map[string]int32{}, channels: map[string]*channelState{}, rollouts: map[string]*rolloutState{},
		quarantin: map[quarantine]bool{},
	}
	if emptyStore {
		p.warmUntil = startedAt.Add(s.EmptyStoreWarmUp)
	}
	return p
}

// Restored tells that the store is older than what a host remembers: from now on warm-up is that of an empty store.
// It may be called again; the first call counts.
func (p *Planner) Restored(now time.Time) {
	if until := now.Add(p.settings.EmptyStoreWarmUp); p.warmUntil.Before(p.startedAt.Add(p.settings.EmptyStoreWarmUp)) {
		old := p.warmUntil
		p.remember(func() { p.warmUp(old) })
		p.warmUp(until)
	}
}

// warmUp sets the end of warm-up, and with it which hosts had to be heard.
func (p *Planner) warmUp(until time.Time) {
	p.warmUntil = until
	for h := range p.hosts {
		p.recount(int32(h))
	}
}

// host returns the index of the host, making it if it is new.
func (p *Planner) host(name string) int32 {
	if h, ok := p.hostOf[name]; ok {
		return h
	}
	h := int32(len(p.hosts))
	p.hosts = append(p.hosts, hostState{name: name, quiet: true, listedAt: p.now})
	p.hostOf[name] = h
	return h
}

func (p *Planner) channel(name string) *channelState {
	c := p.channels[name]
	if c == nil {
		c = &channelState{name: name}
		p.channels[name] = c
	}
	return c
}

func (p *Planner) rollout(id, channel string) *rolloutState {
	r := p.rollouts[id]
	if r == nil {
		r = &rolloutState{id: id, channel: channel, parked: map[int32]bitset{}}
		r.rec = Record{ID: id, Channel: channel}
		r.block.holdFrom = noWave
		p.rollouts[id] = r
		p.changed = true
	}
	return r
}

// newest says whether the rollout is its channel's newest.
func (p *Planner) newest(r *rolloutState) bool {
	c := p.channels[r.channel]
	return c != nil && c.newest == r
}

// inOrder returns all rollouts by channel and then id.
func (p *Planner) inOrder() []*rolloutState {
	if p.changed {
		p.order = p.order[:0]
		for _, r := range p.rollouts {
			p.order = append(p.order, r)
		}
		slices.SortFunc(p.order, func(a, b *rolloutState) int {
			if c := strings.Compare(a.channel, b.channel); c != 0 {
				return c
			}
			return strings.Compare(a.id, b.id)
		})
		p.changed = false
	}
	return p.order
}

// find returns the slot of the host in the rollout, nil if it has none.
func (p *Planner) find(name, rollout string) (*rolloutState, int32, bool) {
	h, ok := p.hostOf[name]
	if !ok {
		return nil, 0, false
	}
	return p.findIn(h, rollout)
}

func (p *Planner) findIn(h int32, rollout string) (*rolloutState, int32, bool) {
	for _, at := range p.hosts[h].slots {
		if at.rollout.id == rollout {
			return at.rollout, at.slot, true
		}
	}
	return nil, 0, false
}
