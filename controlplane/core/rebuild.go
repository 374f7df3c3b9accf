package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/host"
	"nixfleet/rollout"
	"nixfleet/wire"
)

// Rebuild applies a log to nothing and compares the views that result with the stored ones. rows calls its argument
// for every row in order. It returns what differs, a line each, and an error where the log itself cannot be followed:
// a broken chain, or a row that does not follow from those before it.
func Rebuild(stored *ledger.Image, rows func(visit func(*ledger.Row) error) error) ([]string, error) {
	c := &Core{
		hosts: map[string]*hostState{}, quarantines: map[quarantineKey]*ledger.QuarantineView{}, rollouts: map[string]*rollout.Record{},
		causes: map[string]uint64{}, policies: map[string]*host.Policy{}, interned: map[[32]byte]*host.Policy{}, parked: map[TicketKey]struct{}{},
	}
	if err := c.loadPolicies(stored); err != nil {
		return nil, err
	}
	t := c.begin(time.Time{}, Recalled{})
	t.live = false
	made := newViews()
	var head ledger.Head
	err := rows(func(row *ledger.Row) error {
		if err := ledger.Verify(head, row); err != nil {
			return err
		}
		head = ledger.Head{Seq: row.Seq, Hash: row.Hash}
		own := *row
		t.now = own.At
		if err := t.applyRow(&own); err != nil {
			return fmt.Errorf("core: row %d, %s: %w", row.Seq, row.Kind, err)
		}
		made.take(t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	differences := made.compare(viewsOf(stored))
	if head != stored.Head {
		differences = append(differences, fmt.Sprintf("the log ends at row %d, the store says %d", head.Seq, stored.Head.Seq))
	}
	return differences, nil
}

// applyRow applies one row of a log, whatever its kind.
func (t *tx) applyRow(row *ledger.Row) error {
	if row.Kind == kindRecordReported {
		m, err := wire.DecodeRecordMessage(row.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", errRow, err)
		}
		return t.applyReport(row, &m)
	}
	if row.EventSeq == 0 && row.Flags&ledger.Synthesized == 0 {
		f, ok, err := decodeFact(row.Kind, row.Payload)
		if err == nil && !ok {
			err = fmt.Errorf("%w: unknown kind", errRow)
		}
		if err != nil {
			return err
		}
		return t.applyFact(row, f)
	}
	e, err := decodeEnvelope(row.Payload)
	if err != nil {
		return err
	}
	if row.Flags&ledger.Synthesized != 0 {
		return t.applySynthesized(row, &e)
	}
	return t.applyEvent(row, e.Event)
}

// views are rows of the views as text, by table and key: text is what can be compared and shown.
type views map[string]string

func newViews() views { return views{} }

func (v views) set(gone bool, value any, key ...string) {
	k := strings.Join(key, " ")
	if gone {
		delete(v, k)
		return
	}
	v[k] = fmt.Sprintf("%+v", value)
}

// take moves what the last row changed from the transaction into the views.
func (v views) take(t *tx) {
	for key := range t.records {
		if m := t.hosts[key.host].mirror(key.rollout); m != nil {
			v.record(m.view(key.host))
		} else {
			v.set(true, nil, "record", key.host, key.rollout)
		}
	}
	clear(t.records)
	clear(t.beats)
	clear(t.hashes)
	out := &t.out.Ledger
	for _, x := range out.Rollouts {
		v.rollout(x)
	}
	for _, x := range out.Quarantines {
		v.set(false, x, "quarantine", x.Channel, x.Closure)
	}
	for _, x := range out.Dispatches {
		v.dispatch(x)
	}
	for _, x := range out.Holds {
		v.set(x.Gone, x, "hold", x.Host, x.Kind)
	}
	for _, x := range out.Failures {
		v.set(false, x, "probe failure", x.Host, x.RolloutID, x.Probe)
	}
	for _, x := range out.Parked {
		v.set(x.Gone, x.Cause, "parked", x.Key.Host, x.Key.RolloutID, fmt.Sprint(x.Key.Seq))
	}
	*out = ledger.Commit{}
}

// The bodies are JSON and shown as such, not as numbers of bytes.
func (v views) record(x ledger.RecordView) {
	body := string(x.Record)
	x.Record = nil
	v.set(false, fmt.Sprintf("%+v %s", x, body), "record", x.Host, x.RolloutID)
}

func (v views) rollout(x ledger.RolloutView) {
	body := string(x.Body)
	x.Body = nil
	v.set(false, fmt.Sprintf("%+v %s", x, body), "rollout", x.ID)
}

func (v views) dispatch(x ledger.DispatchView) {
	body := string(x.Body)
	x.Body = nil
	v.set(x.Gone, fmt.Sprintf("%+v %s", x, body), "dispatch", x.Host)
}

func viewsOf(image *ledger.Image) views {
	v := newViews()
	for _, x := range image.Records {
		v.record(x)
	}
	for _, x := range image.Rollouts {
		v.rollout(x)
	}
	for _, x := range image.Quarantines {
		v.set(false, x, "quarantine", x.Channel, x.Closure)
	}
	for _, x := range image.Dispatches {
		v.dispatch(x)
	}
	for _, x := range image.Holds {
		v.set(false, x, "hold", x.Host, x.Kind)
	}
	for _, x := range image.Failures {
		v.set(false, x, "probe failure", x.Host, x.RolloutID, x.Probe)
	}
	for i := range image.Parked {
		x := &image.Parked[i]
		v.set(false, x.Seq, "parked", x.Host, x.RolloutID, fmt.Sprint(x.EventSeq))
	}
	return v
}

// compare lists what differs from the stored views, in order.
func (v views) compare(stored views) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(v)) {
		switch have, ok := stored[key]; {
		case !ok:
			out = append(out, key+": missing, the log says "+v[key])
		case have != v[key]:
			out = append(out, key+": stored "+have+", the log says "+v[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		if _, ok := v[key]; !ok {
			out = append(out, key+": stored "+stored[key]+", the log knows nothing of it")
		}
	}
	return out
}
