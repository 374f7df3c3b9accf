package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"nixfleet/agent/core"
	"nixfleet/host"
	"nixfleet/operator"
	"nixfleet/replay"
	"nixfleet/trust"
	"nixfleet/wire"
)

// logged is one event as either side has it, in canonical form.
type logged struct {
	rollout string
	seq     uint64
	event   []byte
}

// journaled reads every event from an agent's journal, in the order it was committed.
func journaled(m *machine) ([]logged, error) {
	var events []logged
	var problem error
	_, err := replay.Steps(m.stateDir(), func(s core.Step) {
		canonical, err := trust.Canonical(wire.AppendEvent(nil, s.Seq, s.Event))
		problem = errors.Join(problem, err)
		events = append(events, logged{s.RolloutID, s.Seq, canonical})
	})
	return events, errors.Join(err, problem)
}

// mirrored reads every event of a host from the control plane's log, in the order it was stored.
func mirrored(ctx context.Context, client *operator.Client, name string) ([]logged, error) {
	var events []logged
	err := client.Trace(ctx, name, "", 0, func(raw json.RawMessage) error {
		row, err := readRow(raw)
		if err != nil || row.eventSeq == 0 {
			return err
		}
		if len(row.flags) > 0 {
			return fmt.Errorf("event %d of %s is %v", row.eventSeq, row.rollout, row.flags)
		}
		canonical, err := trust.Canonical(row.event)
		events = append(events, logged{row.rollout, row.eventSeq, canonical})
		return err
	})
	return events, err
}

// auditHost holds the control plane's log of a host against the host's own journal: the same events, in the same
// order, numbered without a gap, none twice.
func auditHost(ctx context.Context, client *operator.Client, m *machine) (int, error) {
	here, err := journaled(m)
	if err != nil {
		return 0, fmt.Errorf("journal of %s: %w", m.name, err)
	}
	there, err := mirrored(ctx, client, m.name)
	if err != nil {
		return 0, fmt.Errorf("log of %s: %w", m.name, err)
	}
	last := map[string]uint64{}
	for _, e := range here {
		if e.seq != last[e.rollout]+1 {
			return 0, fmt.Errorf("journal of %s: %s has seq %d after %d", m.name, e.rollout, e.seq, last[e.rollout])
		}
		last[e.rollout] = e.seq
	}
	same := slices.EqualFunc(here, there, func(a, b logged) bool {
		return a.rollout == b.rollout && a.seq == b.seq && bytes.Equal(a.event, b.event)
	})
	if !same {
		return 0, fmt.Errorf("%s: %d events in its journal, %d in the control plane's log, and they are not the same", m.name, len(here), len(there))
	}
	return len(here), nil
}

// row is what the demo reads of a row of the log.
type row struct {
	seq      uint64
	kind     string
	host     string
	rollout  string
	eventSeq uint64
	flags    []string
	event    []byte // nil for rows that are no events
}

func readRow(raw json.RawMessage) (row, error) {
	var r struct {
		Seq       uint64   `json:"seq"`
		Kind      string   `json:"kind"`
		Host      string   `json:"host"`
		RolloutID string   `json:"rolloutId"`
		EventSeq  uint64   `json:"eventSeq"`
		Flags     []string `json:"flags"`
		Payload   struct {
			Event json.RawMessage `json:"event"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return row{}, fmt.Errorf("demo: row of the log: %w", err)
	}
	return row{r.Seq, r.Kind, r.Host, r.RolloutID, r.EventSeq, r.Flags, r.Payload.Event}, nil
}

// transition returns the state an event leads to and the event's own time; false if it changes none.
func transition(e host.Event, from host.State) (host.State, bool) {
	switch e.(type) {
	case host.Activate:
		return host.Activating, true
	case host.ActivationCompleted:
		return host.Soaking, true
	case host.ActivationDeferred:
		return host.Deferred, true
	case host.ActivationFailed, host.SustainedFailureCrossed:
		return host.Failed, true
	case host.RollbackCompleted:
		return host.Reverted, true
	case host.ConvergedReached:
		return host.Converged, true
	case host.ActivationStarted, host.ProbeTopologyDeclared, host.ProbeObservedFirst, host.ProbeResult,
		host.ProbeFailureFirst, host.RollbackFailed:
	}
	return from, false
}
