package main

import (
	"bufio"
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
	"nixfleet/rollout"
	"nixfleet/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// database makes one in which a host was held and released.
func database(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cp.db")
	db, err := store.OpenSQLite(t.Context(), path, slog.New(slog.DiscardHandler))
	must(t, err)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c, err := core.New(&ledger.Image{}, rollout.DefaultSettings(), now)
	must(t, err)
	for i, instance := range []string{"x", "y", "x"} {
		at := now.Add(time.Duration(i) * time.Minute)
		commit, err := c.Handle([]core.Input{core.Beat{Heartbeat: wire.Heartbeat{Hostname: "a", At: at, AgentVersion: "v", Instance: instance}}}, core.Recalled{}, at)
		must(t, err)
		must(t, db.Commit(t.Context(), &commit.Ledger))
		c.Applied(commit)
	}
	must(t, db.Close())
	return path
}

func TestAnExportIsTheWholeChainAndNamesItsHead(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"export", "--db", database(t)}, &out, &errOut); code != exitDone {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	head, lines := ledger.Head{}, bufio.NewScanner(&out)
	for lines.Scan() {
		row, err := ledger.ParseLine(lines.Bytes())
		must(t, err)
		must(t, ledger.Verify(head, &row))
		head = ledger.Head{Seq: row.Seq, Hash: row.Hash}
	}
	if head.Seq == 0 || strings.TrimSpace(errOut.String()) != head.Hash.String() {
		t.Errorf("head %q, the last row's hash is %s", errOut.String(), head.Hash)
	}
}

func TestRebuildViewsSaysWhetherTheViewsAreWhatTheLogSays(t *testing.T) {
	path := database(t)
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"rebuild-views", "--db", path}, &out, &errOut); code != exitDone {
		t.Fatalf("exit %d: %s%s", code, out.String(), errOut.String())
	}
	raw, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = raw.ExecContext(t.Context(), `UPDATE holds SET reason = 'none'`)
	must(t, errors.Join(err, raw.Close()))
	out.Reset()
	if code := run(t.Context(), []string{"rebuild-views", "--db", path}, &out, &errOut); code != exitNo || !strings.HasPrefix(out.String(), "hold a clone: ") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

func TestExitCodesSayWhatWentWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"version"}, exitDone},
		{[]string{"serve", "--help"}, exitDone},
		{[]string{"export", "--help"}, exitDone},
		{[]string{"exprot"}, exitUsage},
		{[]string{"export"}, exitUsage},
		{[]string{"export", "--db", "/nowhere/cp.db"}, exitReach},
		{[]string{"serve", "--listen", "nowhere"}, exitUsage},
		{[]string{"serve", "--config", "/nowhere/cp.toml"}, exitUsage},
		{[]string{"serve", "--trust-file", "/nowhere/trust.json", "--server-key", "/nowhere/key"}, exitReach},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), c.args, &out, &errOut); code != c.code {
			t.Errorf("%v: exit %d, want %d: %s", c.args, code, c.code, errOut.String())
		}
	}
}
