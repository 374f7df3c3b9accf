package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"nixfleet/controlplane/ledger"
)

// statements are prepared once on the writing connection: parsing SQL costs more than running it.
type statements struct {
	head, row, record, recordGone, rollout, quarantine, dispatch, dispatchGone, hold, holdGone, failure, parked, parkedGone, policy, ticket, host, meta *sql.Stmt
	all                                                                                                                                                 []*sql.Stmt
}

func (s *statements) prepare(ctx context.Context, db *sql.DB) error {
	for _, p := range [...]struct {
		into **sql.Stmt
		text string
	}{
		{&s.head, `SELECT seq, hash FROM event_log ORDER BY seq DESC LIMIT 1`},
		{&s.row, `INSERT INTO event_log (seq, at, kind, host, rollout_id, event_seq, event_hash, policy_hash, flags, payload, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.record, `INSERT OR REPLACE INTO host_rollouts (host, rollout_id, cause, highest, state, record, want, cleared) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.recordGone, `DELETE FROM host_rollouts WHERE host = ? AND rollout_id = ?`},
		{&s.rollout, `INSERT OR REPLACE INTO rollouts (rollout_id, channel, state, wave, opened_at, cause, body) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&s.quarantine, `INSERT OR REPLACE INTO quarantines (channel, closure, cause, at, host, rollout_id, cleared_at, cleared_by, cleared_cause) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.dispatch, `INSERT OR REPLACE INTO dispatches (host, rollout_id, cause, written, body) VALUES (?, ?, ?, ?, ?)`},
		{&s.dispatchGone, `DELETE FROM dispatches WHERE host = ?`},
		{&s.hold, `INSERT OR REPLACE INTO holds (host, kind, reason, since, cause) VALUES (?, ?, ?, ?, ?)`},
		{&s.holdGone, `DELETE FROM holds WHERE host = ? AND kind = ?`},
		{&s.failure, `INSERT OR REPLACE INTO probe_failures (host, rollout_id, probe, cause, at, mode, reason) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&s.parked, `INSERT OR REPLACE INTO parked (host, rollout_id, event_seq, cause) VALUES (?, ?, ?, ?)`},
		{&s.parkedGone, `DELETE FROM parked WHERE host = ? AND rollout_id = ? AND event_seq = ?`},
		{&s.policy, `INSERT OR REPLACE INTO policies (hash, body) VALUES (?, ?)`},
		{&s.ticket, `INSERT OR REPLACE INTO tickets (rollout_id, host, hash, raw, signature) VALUES (?, ?, ?, ?, ?)`},
		{&s.host, `INSERT OR REPLACE INTO hosts (host, body) VALUES (?, ?)`},
		{&s.meta, `INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)`},
	} {
		stmt, err := db.PrepareContext(ctx, p.text)
		if err != nil {
			return fmt.Errorf("store: prepare %q: %w", p.text, err)
		}
		*p.into = stmt
		s.all = append(s.all, stmt)
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range s.all {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}

// Commit implements [Store].
func (s *SQLite) Commit(ctx context.Context, c *ledger.Commit) error {
	if c.Empty() {
		return nil
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	w := write{ctx: ctx, tx: tx, s: &s.stmts}
	w.rows(c.Rows)
	w.views(c)
	w.references(c)
	if w.err != nil {
		return errors.Join(fmt.Errorf("store: commit: %w", w.err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// write is one transaction in progress; its first error sticks.
type write struct {
	ctx context.Context
	tx  *sql.Tx
	s   *statements
	err error
}

func (w *write) exec(stmt *sql.Stmt, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.StmtContext(w.ctx, stmt).ExecContext(w.ctx, args...)
	}
}

func (w *write) rows(rows []ledger.Row) {
	if len(rows) == 0 {
		return
	}
	w.checkHead(&rows[0])
	if w.err != nil {
		return
	}
	insert := w.tx.StmtContext(w.ctx, w.s.row)
	for i := range rows {
		r := &rows[i]
		var eventSeq, eventHash any // NULL where the row is no event of an agent
		if r.EventSeq != 0 {
			eventSeq, eventHash = int64(r.EventSeq), r.EventHash[:]
		}
		if _, w.err = insert.ExecContext(w.ctx, int64(r.Seq), text(r.At), r.Kind, r.Host, r.RolloutID, eventSeq, eventHash,
			r.PolicyHash, int64(r.Flags), r.Payload, r.Prev[:], r.Hash[:]); w.err != nil {
			return
		}
	}
}

// checkHead refuses rows that do not continue the log: two writers must never interleave.
func (w *write) checkHead(first *ledger.Row) {
	var seq int64
	var hash []byte
	err := w.tx.StmtContext(w.ctx, w.s.head).QueryRowContext(w.ctx).Scan(&seq, &hash)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		hash = make([]byte, len(first.Prev))
	case err != nil:
		w.err = err
		return
	}
	if uint64(seq)+1 != first.Seq || string(hash) != string(first.Prev[:]) {
		w.err = fmt.Errorf("row %d behind %d: %w", first.Seq, seq, ErrMoved)
	}
}

func (w *write) views(c *ledger.Commit) {
	for _, v := range c.Records {
		if v.Gone {
			w.exec(w.s.recordGone, v.Host, v.RolloutID)
			continue
		}
		w.exec(w.s.record, v.Host, v.RolloutID, int64(v.Cause), int64(v.Highest), v.State, v.Record, v.Want, v.Cleared)
	}
	for _, v := range c.Rollouts {
		w.exec(w.s.rollout, v.ID, v.Channel, v.State, int64(v.Wave), text(v.OpenedAt), int64(v.Cause), v.Body)
	}
	for _, v := range c.Quarantines {
		w.exec(w.s.quarantine, v.Channel, v.Closure, int64(v.Cause), text(v.At), v.Host, v.RolloutID, text(v.ClearedAt), v.ClearedBy, int64(v.ClearedCause))
	}
	for _, v := range c.Dispatches {
		if v.Gone {
			w.exec(w.s.dispatchGone, v.Host)
			continue
		}
		w.exec(w.s.dispatch, v.Host, v.RolloutID, int64(v.Cause), v.Written, v.Body)
	}
	for _, v := range c.Holds {
		if v.Gone {
			w.exec(w.s.holdGone, v.Host, v.Kind)
			continue
		}
		w.exec(w.s.hold, v.Host, v.Kind, v.Reason, text(v.Since), int64(v.Cause))
	}
	for _, v := range c.Failures {
		w.exec(w.s.failure, v.Host, v.RolloutID, v.Probe, int64(v.Cause), text(v.At), v.Mode, v.Reason)
	}
	for _, v := range c.Parked {
		if v.Gone {
			w.exec(w.s.parkedGone, v.Key.Host, v.Key.RolloutID, int64(v.Key.Seq))
			continue
		}
		w.exec(w.s.parked, v.Key.Host, v.Key.RolloutID, int64(v.Key.Seq), int64(v.Cause))
	}
}

func (w *write) references(c *ledger.Commit) {
	for _, p := range c.Policies {
		w.exec(w.s.policy, p.Hash, p.Body)
	}
	for _, t := range c.Tickets {
		w.exec(w.s.ticket, t.RolloutID, t.Host, t.Hash, t.Raw, t.Signature)
	}
	for _, h := range c.Hosts {
		w.exec(w.s.host, h.Host, h.Body)
	}
	for k, v := range c.Meta {
		w.exec(w.s.meta, k, v)
	}
}

// text writes a time, "" for none.
func text(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
