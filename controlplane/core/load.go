package core

import (
	"fmt"
	"slices"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
)

// New makes the core from what the store has. startedAt is when this control plane started: warm-up counts from it.
// Documents come afterwards, by the first DocumentsChanged.
func New(image *ledger.Image, s rollout.Settings, startedAt time.Time) (*Core, error) {
	c := &Core{
		settings: s, head: image.Head, hosts: make(map[string]*hostState, len(image.Hosts)), quarantines: map[quarantineKey]*ledger.QuarantineView{},
		rollouts: map[string]*rollout.Record{}, causes: map[string]uint64{}, policies: make(map[string]*host.Policy, len(image.Policies)),
		interned: map[[32]byte]*host.Policy{}, parked: map[TicketKey]struct{}{},
		planner: rollout.NewPlanner(s, startedAt, image.Head.Seq == 0),
	}
	for _, load := range []func(*ledger.Image) error{
		c.loadPolicies, c.loadHosts, c.loadRecords, c.loadDecisions, c.loadParked, c.loadRollouts,
	} {
		if err := load(image); err != nil {
			return nil, err
		}
	}
	c.keepUsedPolicies()
	for _, name := range sortedHosts(c.hosts) {
		c.planner.SetHost(name, c.hosts[name].status())
	}
	return c, nil
}

// keepUsedPolicies forgets policies of rollouts that were pruned: the log needs them, events to come do not.
func (c *Core) keepUsedPolicies() {
	used := make(map[string]*host.Policy, len(c.policies))
	for _, h := range c.hosts {
		for i := range h.mirrors {
			if r := h.mirrors[i].record; r != nil && c.policies[r.PolicyHash] != nil {
				used[r.PolicyHash] = c.policies[r.PolicyHash]
			}
		}
	}
	c.policies = used
}

func sortedHosts(hosts map[string]*hostState) []string {
	names := make([]string, 0, len(hosts))
	for name := range hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *Core) loaded(name string) *hostState {
	h := c.hosts[name]
	if h == nil {
		h = &hostState{name: name}
		c.hosts[name] = h
	}
	return h
}

func (c *Core) loadPolicies(image *ledger.Image) error {
	for _, p := range image.Policies {
		policy, err := decodePolicy(p.Body)
		if err != nil {
			return fmt.Errorf("core: policy %s: %w", p.Hash, err)
		}
		c.policies[p.Hash] = c.intern(policy)
	}
	return nil
}

func (c *Core) loadHosts(image *ledger.Image) error {
	for _, s := range image.Hosts {
		b, err := decodeBeat(s.Body)
		if err != nil {
			return fmt.Errorf("core: host %s: %w", s.Host, err)
		}
		c.loaded(s.Host).beat = b
	}
	return nil
}

func (c *Core) loadRecords(image *ledger.Image) error {
	for i := range image.Records {
		v := &image.Records[i]
		m := c.loaded(v.Host).open(v.RolloutID)
		m.highest, m.want, m.cleared, m.cause = v.Highest, v.Want, v.Cleared, v.Cause
		if v.Record == nil {
			continue
		}
		r, err := decodeRecord(v.Record)
		if err != nil {
			return fmt.Errorf("core: record of %s in %s: %w", v.Host, v.RolloutID, err)
		}
		m.record, m.policy = &r, c.policies[r.PolicyHash]
		c.planner.SetRecord(m.record)
		if m.cleared {
			c.planner.SetCleared(v.Host, v.RolloutID, r.Channel)
		}
	}
	return nil
}

func (c *Core) loadDecisions(image *ledger.Image) error {
	for _, v := range image.Dispatches {
		message, err := decodeDispatch(v.Body)
		if err != nil {
			return fmt.Errorf("core: dispatch of %s: %w", v.Host, err)
		}
		h := c.loaded(v.Host)
		h.dispatch = &dispatch{message: message, written: v.Written, cause: v.Cause}
		d := rollout.Dispatch{State: rollout.DispatchQueued, At: message.EnqueuedAt}
		if v.Written {
			d.State = rollout.DispatchWritten
		}
		if m := h.mirror(v.RolloutID); m != nil && m.record != nil {
			c.planner.SetDispatch(v.Host, v.RolloutID, m.record.Channel, d)
		}
	}
	for _, v := range image.Holds {
		h := c.loaded(v.Host)
		h.holds = append(h.holds, hold{kind: v.Kind, reason: v.Reason, since: v.Since, cause: v.Cause})
		if v.Kind == HoldClone {
			h.beat.lastClone = v.Since
		}
	}
	for i := range image.Quarantines {
		q := &image.Quarantines[i]
		c.quarantines[quarantineKey{q.Channel, q.Closure}] = q
		c.planner.SetQuarantine(q.Channel, q.Closure, q.ClearedAt.IsZero())
	}
	return nil
}

func (c *Core) loadParked(image *ledger.Image) error {
	for i := range image.Parked {
		row := &image.Parked[i]
		m := c.loaded(row.Host).open(row.RolloutID)
		m.parked = append(m.parked, row)
		c.parked[TicketKey{RolloutID: row.RolloutID, Host: row.Host}] = struct{}{}
	}
	return nil
}

func (c *Core) loadRollouts(image *ledger.Image) error {
	for _, v := range image.Rollouts {
		r, err := decodeRollout(v.Body)
		if err != nil {
			return fmt.Errorf("core: rollout %s: %w", v.ID, err)
		}
		c.causes[r.ID] = v.Cause
		if r.State == rollout.Pruned {
			continue
		}
		c.rollouts[r.ID] = r
		c.planner.SetRollout(*r)
	}
	return nil
}

// Queued lists the hosts that have a dispatch to ask for, in order: the long-poll hub starts with them.
func (c *Core) Queued() []string {
	var names []string
	for _, name := range sortedHosts(c.hosts) {
		if c.hosts[name].dispatch != nil {
			names = append(names, name)
		}
	}
	return names
}

// Head returns the end of the log as of the last commit applied.
func (c *Core) Head() ledger.Head { return c.head }

// Mirror returns the record of a host in a rollout as of the last commit applied, nil if there is none. It must not be
// changed.
func (c *Core) Mirror(hostname, rolloutID string) *host.Record {
	h := c.hosts[hostname]
	if h == nil {
		return nil
	}
	if m := h.mirror(rolloutID); m != nil {
		return m.record
	}
	return nil
}
