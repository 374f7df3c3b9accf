package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *store.SQLite {
	t.Helper()
	db, err := store.OpenSQLite(context.Background(), path, quiet)
	must(t, err)
	return db
}

// eventRow is one event of a host, not yet in a log.
func eventRow(host string, seq uint64) ledger.Row {
	payload := []byte(fmt.Sprintf(`{"hostname":%q,"rolloutId":"stable@r","event":{"kind":"X","seq":%d}}`, host, seq))
	return ledger.Row{At: at, Kind: "X", Host: host, RolloutID: "stable@r", EventSeq: seq, EventHash: sha256.Sum256(payload), PolicyHash: "p", Payload: payload}
}

// commit chains rows behind head.
func commit(t testing.TB, head ledger.Head, rows ...ledger.Row) (*ledger.Commit, ledger.Head) {
	t.Helper()
	for i := range rows {
		var err error
		head, err = head.Append(&rows[i])
		must(t, err)
	}
	return &ledger.Commit{Rows: rows}, head
}

// suite is what every store does. It is given a store that is empty.
func suite(t *testing.T, db store.Store, reopen func() store.Store) {
	ctx := context.Background()
	image, err := db.Load(ctx)
	must(t, err)
	if image.Head != (ledger.Head{}) || len(image.Records) != 0 {
		t.Errorf("an empty store has %+v", image)
	}
	c, head := commit(t, ledger.Head{}, eventRow("a", 1), eventRow("b", 1), ledger.Row{At: at, Kind: "Fact", Host: "a", Payload: []byte("{}")},
		eventRow("a", 1<<63+5))
	views(c)
	must(t, db.Commit(ctx, c))
	check(t, db, c, head)
	must(t, db.Close())
	db = reopen()
	check(t, db, c, head)
	gone(t, db)
	refusals(t, db, head)
	must(t, db.Close())
}

func views(c *ledger.Commit) {
	c.Records = []ledger.RecordView{
		{Host: "a", RolloutID: "stable@r", Cause: 4, Highest: 1<<63 + 5, State: "Pending", Record: []byte(`{"x":1}`), Want: "w", Cleared: true},
		{Host: "b", RolloutID: "stable@r", Cause: 2, Highest: 1},
	}
	c.Rollouts = []ledger.RolloutView{{ID: "stable@r", Channel: "stable", State: "Active", Wave: 2, OpenedAt: at, Cause: 3, Body: []byte(`{}`)}}
	c.Quarantines = []ledger.QuarantineView{{Channel: "stable", Closure: "c", Cause: 3, At: at, Host: "a", RolloutID: "stable@r", ClearedAt: at, ClearedBy: "op", ClearedCause: 4}}
	c.Dispatches = []ledger.DispatchView{{Host: "a", RolloutID: "stable@r", Cause: 3, Written: true, Body: []byte(`{}`)}}
	c.Holds = []ledger.HoldView{{Host: "a", Kind: "clone", Reason: "two", Since: at, Cause: 3}}
	c.Failures = []ledger.ProbeFailureView{{Host: "a", RolloutID: "stable@r", Probe: "http", Cause: 1, At: at, Mode: "enforce", Reason: "no"}}
	c.Parked = []ledger.ParkedView{{Key: ledger.EventKey{Host: "b", RolloutID: "stable@r", Seq: 1}, Cause: 2}}
	c.Policies = []ledger.Policy{{Hash: "p", Body: []byte(`{}`)}}
	c.Tickets = []ledger.Ticket{{RolloutID: "stable@r", Host: "a", Hash: "p", Raw: []byte("raw"), Signature: []byte("sig")}}
	c.Hosts = []ledger.HostStatus{{Host: "a", Body: []byte(`{}`)}}
	c.Meta = map[string]string{"k": "v"}
}

func check(t *testing.T, db store.Store, c *ledger.Commit, head ledger.Head) {
	t.Helper()
	ctx := context.Background()
	image, err := db.Load(ctx)
	must(t, err)
	if image.Head != head {
		t.Errorf("head %+v, want %+v", image.Head, head)
	}
	for what, pair := range map[string][2]any{
		"records": {image.Records, c.Records}, "rollouts": {image.Rollouts, c.Rollouts}, "quarantines": {image.Quarantines, c.Quarantines},
		"dispatches": {image.Dispatches, c.Dispatches}, "holds": {image.Holds, c.Holds}, "failures": {image.Failures, c.Failures},
		"parked": {image.Parked, c.Rows[1:2]}, "policies": {image.Policies, c.Policies}, "hosts": {image.Hosts, c.Hosts}, "meta": {image.Meta, c.Meta},
	} {
		if got, want := fmt.Sprintf("%+v", pair[0]), fmt.Sprintf("%+v", pair[1]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	if n := chain(t, db, head); n != len(c.Rows) {
		t.Errorf("%d rows, want %d", n, len(c.Rows))
	}
	known, unknown := ledger.EventKey{Host: "a", RolloutID: "stable@r", Seq: 1<<63 + 5}, ledger.EventKey{Host: "a", RolloutID: "stable@r", Seq: 2}
	hashes, err := db.EventHashes(ctx, []ledger.EventKey{known, unknown})
	must(t, err)
	if len(hashes) != 1 || hashes[known] != c.Rows[3].EventHash {
		t.Errorf("hashes %v", hashes)
	}
	var traced []uint64
	must(t, db.Trace(ctx, "a", "", 1, func(r *ledger.Row) error { traced = append(traced, r.Seq); return nil }))
	if fmt.Sprint(traced) != "[3 4]" {
		t.Errorf("trace of a behind 1: %v", traced)
	}
	ticket, err := db.Ticket(ctx, "stable@r", "a")
	must(t, err)
	if fmt.Sprintf("%+v", ticket) != fmt.Sprintf("%+v", c.Tickets[0]) {
		t.Errorf("ticket %+v", ticket)
	}
	if _, err := db.Ticket(ctx, "stable@r", "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("ticket of b: %v", err)
	}
}

// chain reads and verifies the whole log.
func chain(t testing.TB, db store.Store, end ledger.Head) int {
	t.Helper()
	n, head := 0, ledger.Head{}
	must(t, db.Rows(context.Background(), 0, func(r *ledger.Row) error {
		if err := ledger.Verify(head, r); err != nil {
			return err
		}
		n, head = n+1, ledger.Head{Seq: r.Seq, Hash: r.Hash}
		return nil
	}))
	if end != (ledger.Head{}) && head != end {
		t.Errorf("the log ends at %+v, want %+v", head, end)
	}
	return n
}

func gone(t *testing.T, db store.Store) {
	t.Helper()
	must(t, db.Commit(context.Background(), &ledger.Commit{
		Dispatches: []ledger.DispatchView{{Host: "a", Gone: true}}, Holds: []ledger.HoldView{{Host: "a", Kind: "clone", Gone: true}},
		Parked: []ledger.ParkedView{{Key: ledger.EventKey{Host: "b", RolloutID: "stable@r", Seq: 1}, Gone: true}},
	}))
	image, err := db.Load(context.Background())
	must(t, err)
	if len(image.Dispatches)+len(image.Holds)+len(image.Parked) != 0 {
		t.Errorf("not gone: %+v", image)
	}
}

// refusals are commits of which nothing may be there afterwards.
func refusals(t *testing.T, db store.Store, head ledger.Head) {
	t.Helper()
	ctx := context.Background()
	stale, _ := commit(t, ledger.Head{}, eventRow("c", 1))
	stale.Meta = map[string]string{"k": "stale"}
	if err := db.Commit(ctx, stale); !errors.Is(err, store.ErrMoved) {
		t.Errorf("rows that do not follow the log: %v", err)
	}
	twice, _ := commit(t, head, eventRow("d", 1), eventRow("a", 1))
	twice.Meta = map[string]string{"k": "twice"}
	if err := db.Commit(ctx, twice); err == nil {
		t.Error("an event was stored twice")
	}
	image, err := db.Load(ctx)
	must(t, err)
	if image.Head != head || image.Meta["k"] != "v" {
		t.Errorf("a refused commit left something: %+v %v", image.Head, image.Meta)
	}
	next, end := commit(t, head, eventRow("d", 1))
	must(t, db.Commit(ctx, next))
	chain(t, db, end)
}

func TestSQLiteKeepsWhatAStoreKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cp.db")
	suite(t, open(t, path), func() store.Store { return open(t, path) })
}
