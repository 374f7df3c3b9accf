package agent

import (
	"context"
	"errors"
	"fmt"

	"nixfleet/agent/core"
	"nixfleet/journal"
)

// MaxJournal bounds the log, in bytes. Beyond it results of probes that a later one replaced are dropped, those the
// control plane has first; nothing else ever is. docs/design/04-agent.md, 4.2.
const MaxJournal = 64 << 20

// retention is the worker's memory: what is in the segments that change no more.
type retention struct {
	rollouts map[uint64]map[string]bool // by segment: whose events it holds
	limit    int64
}

// runRetention lets go of old segments after each rotation.
func (a *Agent) runRetention(ctx context.Context) error {
	r := &retention{rollouts: map[uint64]map[string]bool{}, limit: MaxJournal}
	for {
		if err := a.await(ctx, a.nudge.retention, 0); err != nil {
			return err
		}
		if err := a.retain(r); err != nil {
			return err
		}
	}
}

// retain removes the segments whose rollouts are all forgotten, then coalesces if the log is still too long.
func (a *Agent) retain(r *retention) error {
	v := a.view.Load()
	for _, s := range a.journal.Segments() {
		if s.Active {
			continue
		}
		held, err := a.rolloutsOf(r, s.ID)
		if err != nil {
			return err
		}
		needed := false
		for id := range held {
			needed = needed || v.Knows(id)
		}
		if needed {
			continue
		}
		if err := a.journal.Remove(s.ID); err != nil {
			return fmt.Errorf("agent: retention: %w", err)
		}
		delete(r.rollouts, s.ID)
	}
	for _, ackedOnly := range []bool{true, false} {
		if a.journal.Size() <= r.limit {
			return nil
		}
		if err := a.coalesce(r, ackedOnly); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) rolloutsOf(r *retention, id uint64) (map[string]bool, error) {
	if held, ok := r.rollouts[id]; ok {
		return held, nil
	}
	held := map[string]bool{}
	err := a.journal.Scan(journal.Pos{Segment: id}, func(f journal.Frame) error {
		if f.Pos.Segment != id {
			return errEnough
		}
		if f.Kind != journal.Commit {
			return nil
		}
		events, err := core.EventsOf(f.Payload)
		if err != nil {
			held[""] = true // what cannot be read is kept for who can
			return nil
		}
		for _, e := range events {
			held[e.RolloutID] = true
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("agent: retention: %w", err)
	}
	r.rollouts[id] = held
	return held, nil
}

// coalesce rewrites old segments, oldest first, until the log is short enough.
func (a *Agent) coalesce(r *retention, ackedOnly bool) error {
	latest := core.NewLatest()
	err := a.journal.Scan(journal.Pos{}, func(f journal.Frame) error {
		if f.Kind == journal.Commit {
			latest.Note(f.Payload)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("agent: retention: %w", err)
	}
	v := a.view.Load()
	for _, s := range a.journal.Segments() {
		if s.Active || a.journal.Size() <= r.limit {
			return nil
		}
		err := a.journal.Rewrite(s.ID, func(payload []byte) ([]byte, bool, error) {
			return latest.Coalesce(payload, func(id string, seq uint64) bool {
				return !ackedOnly || seq <= v.Outbound[id].Acked
			})
		})
		if err != nil {
			return fmt.Errorf("agent: retention: %w", err)
		}
	}
	return nil
}
