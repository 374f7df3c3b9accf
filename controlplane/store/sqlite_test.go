package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
)

// writerEnv makes this test binary a writer of the database it names, until it is killed.
const writerEnv = "NIXFLEET_TEST_STORE_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeForever(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForever commits events of host w and prints each commit's last seq once it is durable.
func writeForever(path string) error {
	ctx := context.Background()
	db, err := store.OpenSQLite(ctx, path, quiet)
	if err != nil {
		return err
	}
	image, err := db.Load(ctx)
	if err != nil {
		return err
	}
	head, seq := image.Head, uint64(0)
	for _, r := range image.Records {
		seq = r.Highest
	}
	for {
		c := &ledger.Commit{}
		for range 1 + seq%7 {
			seq++
			row := eventRow("w", seq)
			if head, err = head.Append(&row); err != nil {
				return err
			}
			c.Rows = append(c.Rows, row)
		}
		c.Records = []ledger.RecordView{{Host: "w", RolloutID: "stable@r", Cause: head.Seq, Highest: seq}}
		if err := db.Commit(ctx, c); err != nil {
			return err
		}
		if _, err := fmt.Println(seq); err != nil {
			return err
		}
	}
}

func TestEveryAcknowledgedRowSurvivesAKilledWriterOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cp.db")
	for round := range 6 {
		acked := killAfter(t, path, 5+17*round)
		db := open(t, path)
		image, err := db.Load(t.Context())
		must(t, err)
		seen := map[uint64]int{}
		must(t, db.Rows(t.Context(), 0, func(r *ledger.Row) error { seen[r.EventSeq]++; return nil }))
		chain(t, db, image.Head)
		for seq := uint64(1); seq <= acked; seq++ {
			if seen[seq] != 1 {
				t.Errorf("round %d: seq %d is there %d times", round, seq, seen[seq])
			}
		}
		if got := image.Records[0]; got.Highest != uint64(len(seen)) || got.Cause != image.Head.Seq {
			t.Errorf("round %d: view %+v, the log has %d events up to row %d", round, got, len(seen), image.Head.Seq)
		}
		must(t, db.Close())
	}
}

// killAfter runs a writer, kills it after n acknowledged commits and returns the last seq that was acknowledged.
func killAfter(t *testing.T, path string, n int) uint64 {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), writerEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines, last := bufio.NewScanner(out), uint64(0)
	for i := 0; lines.Scan(); i++ {
		last, err = strconv.ParseUint(lines.Text(), 10, 64)
		must(t, err)
		if i == n {
			must(t, cmd.Process.Kill())
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || last == 0 {
		t.Fatalf("the writer ended with %v after seq %d", err, last)
	}
	return last
}

func TestAnyTamperingWithTheDatabaseIsFound(t *testing.T) {
	for name, statement := range map[string]string{
		"payload changed":  `UPDATE event_log SET payload = CAST(replace(CAST(payload AS TEXT), '"kind":"X"', '"kind":"Y"') AS BLOB) WHERE seq = 5`,
		"host changed":     `UPDATE event_log SET host = 'evil' WHERE seq = 5`,
		"time changed":     `UPDATE event_log SET at = '2026-01-02T03:04:06Z' WHERE seq = 5`,
		"flags changed":    `UPDATE event_log SET flags = 1 WHERE seq = 5`,
		"policy changed":   `UPDATE event_log SET policy_hash = 'q' WHERE seq = 5`,
		"row dropped":      `DELETE FROM event_log WHERE seq = 5`,
		"first dropped":    `DELETE FROM event_log WHERE seq = 1`,
		"dropped, closed":  `DELETE FROM event_log WHERE seq = 5; UPDATE event_log SET seq = seq - 1 WHERE seq > 5`,
		"rows swapped":     `UPDATE event_log SET seq = -5 WHERE seq = 5; UPDATE event_log SET seq = 5 WHERE seq = 6; UPDATE event_log SET seq = 6 WHERE seq = -5`,
		"row put in":       `UPDATE event_log SET seq = -seq WHERE seq >= 5; UPDATE event_log SET seq = 1 - seq WHERE seq < 0; INSERT INTO event_log SELECT 5, at, kind, host, rollout_id, 99, event_hash, policy_hash, flags, payload, prev_hash, hash FROM event_log WHERE seq = 4`,
		"hash changed":     `UPDATE event_log SET hash = prev_hash WHERE seq = 5`,
		"prev hash change": `UPDATE event_log SET prev_hash = hash WHERE seq = 5`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cp.db")
			db := open(t, path)
			rows := make([]ledger.Row, 9)
			for i := range rows {
				rows[i] = eventRow("a", uint64(i+1))
			}
			c, _ := commit(t, ledger.Head{}, rows...)
			must(t, db.Commit(t.Context(), c))
			must(t, db.Close())
			tamper(t, path, statement)
			db = open(t, path)
			head := ledger.Head{}
			err := db.Rows(t.Context(), 0, func(r *ledger.Row) error {
				defer func() { head = ledger.Head{Seq: r.Seq, Hash: r.Hash} }()
				return ledger.Verify(head, r)
			})
			if !errors.Is(err, ledger.ErrBrokenChain) {
				t.Errorf("found nothing: %v", err)
			}
			must(t, db.Close())
		})
	}
}

func tamper(t *testing.T, path, statement string) {
	t.Helper()
	raw, err := sql.Open("sqlite", path)
	must(t, err)
	raw.SetMaxOpenConns(1)
	_, err = raw.ExecContext(t.Context(), statement)
	must(t, errors.Join(err, raw.Close()))
}

func TestASecondWriterIsKeptOutAndAReaderIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "cp.db")
	db := open(t, path)
	if _, err := store.OpenSQLite(t.Context(), path, quiet); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
	c, head := commit(t, ledger.Head{}, eventRow("a", 1))
	must(t, db.Commit(t.Context(), c))
	reader, err := store.ReadSQLite(t.Context(), path)
	must(t, err)
	chain(t, reader, head)
	must(t, reader.Close())
	must(t, db.Close())
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := store.ReadSQLite(t.Context(), path+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading what is not there: %v", err)
	}
}

func TestADatabaseOfANewerProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cp.db")
	must(t, open(t, path).Close())
	tamper(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	if db, err := store.OpenSQLite(t.Context(), path, quiet); err == nil {
		t.Error("opened", db.Close())
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			db := open(b, filepath.Join(b.TempDir(), "cp.db"))
			head, seq := ledger.Head{}, uint64(0)
			for b.Loop() {
				rows := make([]ledger.Row, n)
				records := make([]ledger.RecordView, n)
				for i := range rows {
					seq++
					host := "host-" + strconv.FormatUint(seq%10_000, 10)
					rows[i] = eventRow(host, seq)
					records[i] = ledger.RecordView{Host: host, RolloutID: "stable@r", Cause: seq, Highest: seq, State: "Soaking", Record: make([]byte, 900)}
				}
				var c *ledger.Commit
				c, head = commit(b, head, rows...)
				c.Records = records
				must(b, db.Commit(b.Context(), c))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
			must(b, db.Close())
		})
	}
}
