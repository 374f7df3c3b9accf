package fleettest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nixfleet/agent/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
	"nixfleet/host"
	"nixfleet/operator"
	"nixfleet/replay"
	"nixfleet/strictjson"
	"nixfleet/trust"
	"nixfleet/wire"
)

// look is how often a wait looks again.
const look = 50 * time.Millisecond

// Until looks again and again until f says yes. An error that is operator.ErrUnreachable counts as no; any other, or
// Limit without a yes, ends the test. why, which f returns, is what the world was like.
func (s *Site) Until(what string, f func(ctx context.Context) (done bool, why string, err error)) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), Limit)
	defer cancel()
	last := ""
	for {
		done, why, err := f(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, operator.ErrUnreachable):
			s.T.Fatalf("%s: %v", what, err)
		case err != nil:
			last = err.Error()
		case done:
			return
		default:
			last = why
		}
		if !s.pause(ctx) {
			s.T.Fatalf("not within %s: %s; last: %s", Limit, what, last)
		}
	}
}

// While looks again and again for d and ends the test at the first problem.
func (s *Site) While(what string, d time.Duration, f func(ctx context.Context) (problem string, err error)) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), d)
	defer cancel()
	for {
		problem, err := f(context.WithoutCancel(ctx))
		if err != nil || problem != "" {
			s.T.Fatalf("%s: %s %v", what, problem, err)
		}
		if !s.pause(ctx) {
			return
		}
	}
}

func (s *Site) pause(ctx context.Context) bool {
	t := s.machine.NewTimer(look)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// UntilRollout waits until the control plane has the rollout in the state.
func (s *Site) UntilRollout(id, state string) {
	s.T.Helper()
	s.Until(id+" is "+state, func(ctx context.Context) (bool, string, error) {
		list, err := s.client.Rollouts(ctx)
		if err != nil {
			return false, "", err
		}
		for _, r := range list {
			if r.RolloutID == id {
				return r.State == state, "it is " + r.State + ", " + s.reasons(ctx), nil
			}
		}
		return false, "there is none, " + s.reasons(ctx), nil
	})
}

// reasons says why hosts wait, for a wait that fails.
func (s *Site) reasons(ctx context.Context) string {
	text := ""
	for _, name := range s.names {
		w, err := s.client.Why(ctx, name)
		if err != nil {
			return err.Error()
		}
		text += fmt.Sprintf("[%s %s %s held %q", name, w.Host.RolloutID, w.Host.State, w.Host.Held)
		if w.Reason != nil {
			text += " waits: " + w.Reason.Gate + ": " + w.Reason.Text
		}
		text += "]"
	}
	return text
}

// UntilHost waits until the control plane's summary of a host is as f wants it.
func (s *Site) UntilHost(name, what string, f func(operator.Host) bool) {
	s.T.Helper()
	s.Until(name+" "+what, func(ctx context.Context) (bool, string, error) {
		w, err := s.client.Why(ctx, name)
		if err != nil {
			return false, "", err
		}
		return f(w.Host), fmt.Sprintf("%+v", w.Host), nil
	})
}

// UntilState waits until the host itself has gone to the state in the rollout.
func (h *Host) UntilState(rolloutID string, state host.State) {
	h.t.Helper()
	h.s.Until(h.Name+" is "+state.String()+" in "+rolloutID, func(context.Context) (bool, string, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		last := "nothing happened"
		for _, m := range h.moves {
			if m.RolloutID == rolloutID {
				if last = m.To.String(); m.To == state {
					return true, "", nil
				}
			}
		}
		return false, last, nil
	})
}

// Event is one event as either side has it.
type Event struct {
	RolloutID string
	Seq       uint64
	Kind      string
	Canonical string // of the event's body: equal exactly if the events are
}

// Row is one row of the control plane's log; Event is set where it is an agent's event.
type Row struct {
	Seq       uint64
	Kind      string
	RolloutID string
	Flags     ledger.Flags
	Event     Event
	Payload   string
}

// Journal reads the agent's own account, also of one that runs: every event in it in order, and the records of today.
func (h *Host) Journal() (events []Event, records map[string]host.Record, err error) {
	events, c, err := h.reopen()
	if err != nil {
		return nil, nil, err
	}
	return events, c.Records(), nil
}

// Epoch says which history the agent's journal is of.
func (h *Host) Epoch() (string, error) {
	_, c, err := h.reopen()
	if err != nil {
		return "", err
	}
	return c.View().Epoch, nil
}

func (h *Host) reopen() (events []Event, c *core.Core, err error) {
	var problem error
	c, err = replay.Steps(h.StateDir(), func(st core.Step) {
		canonical, err := trust.Canonical(wire.AppendEvent(nil, st.Seq, st.Event))
		problem = errors.Join(problem, err)
		events = append(events, Event{st.RolloutID, st.Seq, wire.EventKind(st.Event), string(canonical)})
	})
	return events, c, errors.Join(err, problem)
}

// Rows reads the control plane's log of the host, in order.
func (h *Host) Rows(ctx context.Context) ([]Row, error) {
	var rows []Row
	err := h.s.client.Trace(ctx, h.Name, "", 0, func(raw json.RawMessage) error {
		r, err := ledger.ParseLine(raw)
		if err != nil {
			return err
		}
		row := Row{Seq: r.Seq, Kind: r.Kind, RolloutID: r.RolloutID, Flags: r.Flags, Payload: string(r.Payload)}
		if r.EventSeq > 0 {
			envelope, err := wire.DecodeEnvelope(r.Payload)
			if err != nil {
				return err
			}
			canonical, err := trust.Canonical(envelope.RawEvent)
			if err != nil {
				return err
			}
			row.Event = Event{r.RolloutID, r.EventSeq, r.Kind, string(canonical)}
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// Mirror reads the control plane's records of the host from its database.
func (h *Host) Mirror(ctx context.Context) (records map[string]host.Record, err error) {
	db, err := store.ReadSQLite(ctx, h.s.Database())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	image, err := db.Load(ctx)
	if err != nil {
		return nil, err
	}
	records = map[string]host.Record{}
	for _, v := range image.Records {
		if v.Host != h.Name || v.Record == nil {
			continue
		}
		parsed, err := strictjson.Parse(v.Record, strictjson.DefaultLimits)
		if err != nil {
			return nil, err
		}
		if records[v.RolloutID], err = wire.DecodeRecord(parsed.Object()); err != nil {
			return nil, err
		}
	}
	return records, nil
}
