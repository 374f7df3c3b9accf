package fleettest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nixfleet/host"
	"nixfleet/wire"
)

// UntilMirrored waits until the control plane's record of the host is, in every rollout that the agent knows of,
// field for field the agent's.
func (h *Host) UntilMirrored() {
	h.t.Helper()
	h.s.Until("the mirror of "+h.Name+" equals the agent", func(ctx context.Context) (bool, string, error) {
		_, here, err := h.Journal()
		if err != nil {
			return false, err.Error(), nil // the agent is writing: the next look sees a whole frame
		}
		there, err := h.Mirror(ctx)
		if err != nil {
			return false, "", err
		}
		why := differences(here, there)
		return why == "", why, nil
	})
}

func differences(here, there map[string]host.Record) string {
	text := ""
	for id, a := range here {
		b, ok := there[id]
		if !ok {
			text += id + " has no mirror\n"
			continue
		}
		if !a.Equal(&b) {
			text += fmt.Sprintf("agent  %s\nmirror %s\n", wire.AppendRecord(nil, &a), wire.AppendRecord(nil, &b))
		}
	}
	return text
}

// UntilLogged waits until the control plane's log of the host holds what its journal holds: the same events, in the
// same order, numbered without a gap, none twice, none flagged.
func (h *Host) UntilLogged() {
	h.t.Helper()
	h.s.Until("the log of "+h.Name+" is its journal", func(ctx context.Context) (bool, string, error) {
		here, _, err := h.Journal()
		if err != nil {
			return false, err.Error(), nil
		}
		rows, err := h.Rows(ctx)
		if err != nil {
			return false, "", err
		}
		return compare(here, rows)
	})
}

// UntilLoggedInAnyOrder is UntilLogged for a control plane that was told everything again: what it lost of one rollout
// may come after what is new in another. Within a rollout the order holds.
func (h *Host) UntilLoggedInAnyOrder() {
	h.t.Helper()
	h.s.Until("the log of "+h.Name+" has all of its journal", func(ctx context.Context) (bool, string, error) {
		here, _, err := h.Journal()
		if err != nil {
			return false, err.Error(), nil
		}
		rows, err := h.Rows(ctx)
		if err != nil {
			return false, "", err
		}
		byRollout := func(a, b Event) int { return strings.Compare(a.RolloutID, b.RolloutID) }
		slices.SortStableFunc(here, byRollout)
		slices.SortStableFunc(rows, func(a, b Row) int { return byRollout(a.Event, b.Event) })
		return compare(here, rows)
	})
}

func compare(here []Event, rows []Row) (same bool, why string, err error) {
	last := map[string]uint64{}
	for _, e := range here {
		if e.Seq != last[e.RolloutID]+1 {
			return false, "", fmt.Errorf("journal: %s has seq %d after %d", e.RolloutID, e.Seq, last[e.RolloutID])
		}
		last[e.RolloutID] = e.Seq
	}
	var there []Event
	for _, r := range rows {
		if r.Event.Seq == 0 {
			continue
		}
		if r.Flags != 0 {
			return false, "", fmt.Errorf("event %d of %s, %s, is %v", r.Event.Seq, r.RolloutID, r.Kind, r.Flags.Names())
		}
		there = append(there, r.Event)
	}
	for i := range min(len(here), len(there)) {
		if here[i] != there[i] {
			return false, fmt.Sprintf("event %d: journal %s, log %s", i, here[i].Canonical, there[i].Canonical), nil
		}
	}
	return len(here) == len(there), fmt.Sprintf("%d events in the journal, %d in the log", len(here), len(there)), nil
}
