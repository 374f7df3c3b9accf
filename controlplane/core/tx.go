package core

import (
	"crypto/sha256"
	"fmt"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/trust"
)

// Commit is what a batch decided. Ledger goes to the store; once it is durable, [Core.Applied] swaps the copies in,
// the answers may be given and the hosts in Wake have a dispatch to ask for.
type Commit struct {
	Ledger      ledger.Commit
	Answers     []Answer // one per input, in order
	Wake        []string
	Transitions []host.RecordTransition
	Logs        []host.EmitLog

	tx *tx
}

type recordKey struct{ host, rollout string }

// tx is a batch in progress: copies of what it changes, in front of the core that it reads.
type tx struct {
	core *Core
	now  time.Time
	out  *Commit
	live bool // false while a log is applied to nothing: no planner, no effects

	head        ledger.Head
	hosts       map[string]*hostState
	quarantines map[quarantineKey]*ledger.QuarantineView
	rollouts    map[string]*rollout.Record
	causes      map[string]uint64
	policies    map[string]*host.Policy

	hashes   map[ledger.EventKey]ledger.Hash // stored in this batch
	recalled Recalled

	due     []host.RemoteInsertQuarantine // asked for by the step just made
	records map[recordKey]struct{}        // changed by the input just handled
	written map[recordKey]struct{}        // changed by the batch: views to write
	beats   map[string]struct{}           // hosts whose standing beside their records changed
}

func (c *Core) begin(now time.Time, recalled Recalled) *tx {
	t := &tx{
		core: c, now: now, out: &Commit{}, live: true, head: c.head, recalled: recalled,
		hosts: map[string]*hostState{}, quarantines: map[quarantineKey]*ledger.QuarantineView{},
		rollouts: map[string]*rollout.Record{}, causes: map[string]uint64{}, policies: map[string]*host.Policy{},
		hashes: map[ledger.EventKey]ledger.Hash{}, records: map[recordKey]struct{}{}, written: map[recordKey]struct{}{}, beats: map[string]struct{}{},
	}
	t.out.tx = t
	return t
}

// look returns the host to read, nil if it was never heard of.
func (t *tx) look(name string) *hostState {
	if h := t.hosts[name]; h != nil {
		return h
	}
	return t.core.hosts[name]
}

// host returns a copy of the host to change, a new one if it was never heard of.
func (t *tx) host(name string) *hostState {
	if h := t.hosts[name]; h != nil {
		return h
	}
	h := t.core.hosts[name]
	if h == nil {
		h = &hostState{name: name}
	} else {
		h = h.clone()
	}
	t.hosts[name] = h
	return h
}

func (t *tx) quarantine(k quarantineKey) *ledger.QuarantineView {
	if q := t.quarantines[k]; q != nil {
		return q
	}
	return t.core.quarantines[k]
}

func (t *tx) rollout(id string) *rollout.Record {
	if r := t.rollouts[id]; r != nil {
		return r
	}
	return t.core.rollouts[id]
}

func (t *tx) policy(hash string) *host.Policy {
	if p := t.policies[hash]; p != nil {
		return p
	}
	return t.core.policies[hash]
}

// capture keeps what a verified ticket says, by its hash, from now to the end of the rollout.
func (t *tx) capture(v trust.Verified[*fleet.Ticket]) (hash string) {
	ticket := v.Value()
	hash = trust.PolicyHash(ticket)
	if t.policy(hash) != nil {
		return hash
	}
	p := ticket.HostPolicy()
	t.policies[hash] = t.core.intern(p)
	t.out.Ledger.Policies = append(t.out.Ledger.Policies, ledger.Policy{Hash: hash, Body: encodePolicy(&p)})
	t.out.Ledger.Tickets = append(t.out.Ledger.Tickets, ledger.Ticket{
		RolloutID: ticket.RolloutID.String(), Host: ticket.Hostname, Hash: hash, Raw: v.Raw(), Signature: v.Signature(),
	})
	return hash
}

// append puts a row at the end of the log.
func (t *tx) append(row ledger.Row) (*ledger.Row, error) {
	row.At = t.now
	head, err := t.head.Append(&row)
	if err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	t.head = head
	t.out.Ledger.Rows = append(t.out.Ledger.Rows, row)
	if row.EventSeq != 0 {
		t.hashes[ledger.EventKey{Host: row.Host, RolloutID: row.RolloutID, Seq: row.EventSeq}] = row.EventHash
	}
	return &row, nil
}

// fact writes down a decision and applies it.
func (t *tx) fact(hostname, rolloutID string, f Fact) error {
	kind, payload, err := encodeFact(f)
	if err != nil {
		return err
	}
	row, err := t.append(ledger.Row{Kind: kind, Host: hostname, RolloutID: rolloutID, Payload: payload})
	if err != nil {
		return err
	}
	return t.applyFact(row, f)
}

// touch has the view of a record written, and the planner told.
func (t *tx) touch(hostname, rolloutID string) {
	t.records[recordKey{hostname, rolloutID}] = struct{}{}
}

func (t *tx) log(level int, message string, attrs ...string) {
	if t.live {
		t.out.Logs = append(t.out.Logs, host.EmitLog{Level: level, Message: message, Attrs: attrs})
	}
}

// storedHash returns the hash of a stored event.
func (t *tx) storedHash(k ledger.EventKey) (ledger.Hash, bool) {
	if h, ok := t.hashes[k]; ok {
		return h, true
	}
	h, ok := t.recalled.Hashes[k]
	return h, ok
}

func (t *tx) ticket(rolloutID, hostname string) (trust.Verified[*fleet.Ticket], bool) {
	v, ok := t.recalled.Tickets[TicketKey{RolloutID: rolloutID, Host: hostname}]
	return v, ok && v.Value() != nil
}

// Applied swaps in what commit decided, after it became durable. Commits are applied in the order they were made.
func (c *Core) Applied(commit *Commit) {
	t := commit.tx
	c.head = t.head
	for name, h := range t.hosts {
		c.hosts[name] = h
	}
	for k, q := range t.quarantines {
		c.quarantines[k] = q
	}
	for id, r := range t.rollouts {
		if r.State == rollout.Pruned {
			delete(c.rollouts, id)
			delete(c.causes, id)
			continue
		}
		c.rollouts[id], c.causes[id] = r, t.causes[id]
	}
	for hash, p := range t.policies {
		c.policies[hash] = p
	}
	for key := range t.written {
		at := TicketKey{RolloutID: key.rollout, Host: key.host}
		if m := c.hosts[key.host].mirror(key.rollout); m != nil && len(m.parked) > 0 {
			c.parked[at] = struct{}{}
		} else {
			delete(c.parked, at)
		}
	}
	c.planner.Commit()
}

// Dropped forgets a commit that did not become durable: nothing of it happened.
func (c *Core) Dropped(*Commit) { c.planner.Rollback() }

// intern returns one pointer for equal policies: a fleet has a handful, and every host of a rollout carries one.
func (c *Core) intern(p host.Policy) *host.Policy {
	key := sha256.Sum256(encodePolicy(&p))
	if have := c.interned[key]; have != nil {
		return have
	}
	c.interned[key] = &p
	return &p
}
