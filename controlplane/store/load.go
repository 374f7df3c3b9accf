package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"nixfleet/controlplane/ledger"
)

// Load implements [Store].
func (s *SQLite) Load(ctx context.Context) (*ledger.Image, error) {
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one view of the database for all tables
	if err != nil {
		return nil, fmt.Errorf("store: load: %w", err)
	}
	r := reading{ctx: ctx, tx: tx}
	image := &ledger.Image{Meta: map[string]string{}}
	r.head(image)
	r.records(image)
	r.rollouts(image)
	r.decisions(image)
	r.failures(image)
	r.references(image)
	if r.err != nil {
		err = fmt.Errorf("store: load: %w", r.err)
	}
	if end := tx.Rollback(); end != nil && err == nil {
		err = fmt.Errorf("store: load: %w", end)
	}
	if err != nil {
		return nil, err
	}
	return image, nil
}

// querier is what a query needs: a pool, a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls visit for every row of a query.
func each(ctx context.Context, q querier, visit func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err = visit(rows); err != nil {
			break
		}
	}
	if end := rows.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = rows.Err()
	}
	return err
}

// reading is a load in progress; its first error sticks.
type reading struct {
	ctx context.Context
	tx  *sql.Tx
	err error
}

func (r *reading) each(query string, visit func(*sql.Rows) error) {
	if r.err == nil {
		r.err = each(r.ctx, r.tx, visit, query)
	}
}

func (r *reading) head(image *ledger.Image) {
	r.each(`SELECT seq, hash FROM event_log ORDER BY seq DESC LIMIT 1`, func(rows *sql.Rows) error {
		var hash []byte
		if err := rows.Scan(&image.Head.Seq, &hash); err != nil {
			return err
		}
		return setHash(&image.Head.Hash, hash)
	})
}

func (r *reading) records(image *ledger.Image) {
	r.each(`SELECT host, rollout_id, cause, highest, state, record, want, cleared FROM host_rollouts ORDER BY host, rollout_id`, func(rows *sql.Rows) error {
		var v ledger.RecordView
		var highest int64
		err := rows.Scan(&v.Host, &v.RolloutID, &v.Cause, &highest, &v.State, &v.Record, &v.Want, &v.Cleared)
		v.Highest = uint64(highest)
		image.Records = append(image.Records, v)
		return err
	})
}

func (r *reading) rollouts(image *ledger.Image) {
	r.each(`SELECT rollout_id, channel, state, wave, opened_at, cause, body FROM rollouts ORDER BY cause, rollout_id`, func(rows *sql.Rows) error {
		var v ledger.RolloutView
		var opened string
		if err := rows.Scan(&v.ID, &v.Channel, &v.State, &v.Wave, &opened, &v.Cause, &v.Body); err != nil {
			return err
		}
		image.Rollouts = append(image.Rollouts, v)
		return setTime(&image.Rollouts[len(image.Rollouts)-1].OpenedAt, opened)
	})
	r.each(`SELECT channel, closure, cause, at, host, rollout_id, cleared_at, cleared_by, cleared_cause FROM quarantines ORDER BY channel, closure`, func(rows *sql.Rows) error {
		var v ledger.QuarantineView
		var at, cleared string
		if err := rows.Scan(&v.Channel, &v.Closure, &v.Cause, &at, &v.Host, &v.RolloutID, &cleared, &v.ClearedBy, &v.ClearedCause); err != nil {
			return err
		}
		if err := setTime(&v.At, at); err != nil {
			return err
		}
		err := setTime(&v.ClearedAt, cleared)
		image.Quarantines = append(image.Quarantines, v)
		return err
	})
}

func (r *reading) decisions(image *ledger.Image) {
	r.each(`SELECT host, rollout_id, cause, written, body FROM dispatches ORDER BY host`, func(rows *sql.Rows) error {
		var v ledger.DispatchView
		err := rows.Scan(&v.Host, &v.RolloutID, &v.Cause, &v.Written, &v.Body)
		image.Dispatches = append(image.Dispatches, v)
		return err
	})
	r.each(`SELECT host, kind, reason, since, cause FROM holds ORDER BY host, kind`, func(rows *sql.Rows) error {
		var v ledger.HoldView
		var since string
		if err := rows.Scan(&v.Host, &v.Kind, &v.Reason, &since, &v.Cause); err != nil {
			return err
		}
		err := setTime(&v.Since, since)
		image.Holds = append(image.Holds, v)
		return err
	})
	r.each(`SELECT `+logColumns+` FROM event_log JOIN parked ON event_log.seq = parked.cause ORDER BY event_log.seq`, func(rows *sql.Rows) error {
		row, err := scanRow(rows)
		image.Parked = append(image.Parked, row)
		return err
	})
}

func (r *reading) failures(image *ledger.Image) {
	r.each(`SELECT host, rollout_id, probe, cause, at, mode, reason FROM probe_failures ORDER BY host, rollout_id, probe`, func(rows *sql.Rows) error {
		var v ledger.ProbeFailureView
		var at string
		if err := rows.Scan(&v.Host, &v.RolloutID, &v.Probe, &v.Cause, &at, &v.Mode, &v.Reason); err != nil {
			return err
		}
		err := setTime(&v.At, at)
		image.Failures = append(image.Failures, v)
		return err
	})
}

func (r *reading) references(image *ledger.Image) {
	r.each(`SELECT hash, body FROM policies ORDER BY hash`, func(rows *sql.Rows) error {
		var p ledger.Policy
		err := rows.Scan(&p.Hash, &p.Body)
		image.Policies = append(image.Policies, p)
		return err
	})
	r.each(`SELECT host, body FROM hosts ORDER BY host`, func(rows *sql.Rows) error {
		var h ledger.HostStatus
		err := rows.Scan(&h.Host, &h.Body)
		image.Hosts = append(image.Hosts, h)
		return err
	})
	r.each(`SELECT key, value FROM meta`, func(rows *sql.Rows) error {
		var k, v string
		err := rows.Scan(&k, &v)
		image.Meta[k] = v
		return err
	})
}

const logColumns = `event_log.seq, event_log.at, event_log.kind, event_log.host, event_log.rollout_id, event_log.event_seq, event_log.event_hash,
	event_log.policy_hash, event_log.flags, event_log.payload, event_log.prev_hash, event_log.hash`

func scanRow(rows *sql.Rows) (ledger.Row, error) {
	var r ledger.Row
	var at string
	var eventSeq sql.NullInt64
	var eventHash, prev, hash []byte
	if err := rows.Scan(&r.Seq, &at, &r.Kind, &r.Host, &r.RolloutID, &eventSeq, &eventHash, &r.PolicyHash, &r.Flags, &r.Payload, &prev, &hash); err != nil {
		return r, err
	}
	if eventSeq.Valid {
		r.EventSeq = uint64(eventSeq.Int64)
		if err := setHash(&r.EventHash, eventHash); err != nil {
			return r, err
		}
	}
	if err := setHash(&r.Prev, prev); err != nil {
		return r, err
	}
	if err := setHash(&r.Hash, hash); err != nil {
		return r, err
	}
	return r, setTime(&r.At, at)
}

func setHash(into *ledger.Hash, b []byte) error {
	if copy(into[:], b) != len(into) || len(b) != len(into) {
		return fmt.Errorf("a hash of %d bytes, want %d", len(b), len(into))
	}
	return nil
}

func setTime(into *time.Time, s string) error {
	if s == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	*into = t.UTC()
	return err
}

// Rows implements [Store].
func (s *SQLite) Rows(ctx context.Context, after uint64, visit func(*ledger.Row) error) error {
	return s.logRows(ctx, visit, `event_log.seq > ?`, int64(after))
}

// Trace implements [Store].
func (s *SQLite) Trace(ctx context.Context, host, rolloutID string, after uint64, visit func(*ledger.Row) error) error {
	where, args := []string{`event_log.seq > ?`}, []any{int64(after)}
	if host != "" {
		where, args = append(where, `host = ?`), append(args, host)
	}
	if rolloutID != "" {
		where, args = append(where, `rollout_id = ?`), append(args, rolloutID)
	}
	return s.logRows(ctx, visit, strings.Join(where, ` AND `), args...)
}

func (s *SQLite) logRows(ctx context.Context, visit func(*ledger.Row) error, where string, args ...any) error {
	err := each(ctx, s.reader, func(rows *sql.Rows) error {
		row, err := scanRow(rows)
		if err != nil {
			return fmt.Errorf("row %d: %w", row.Seq, err)
		}
		return visit(&row)
	}, `SELECT `+logColumns+` FROM event_log WHERE `+where+` ORDER BY event_log.seq`, args...)
	if err != nil {
		return fmt.Errorf("store: read the log: %w", err)
	}
	return nil
}

// EventHashes implements [Store].
func (s *SQLite) EventHashes(ctx context.Context, keys []ledger.EventKey) (map[ledger.EventKey]ledger.Hash, error) {
	found := make(map[ledger.EventKey]ledger.Hash, len(keys))
	for _, k := range keys {
		err := each(ctx, s.reader, func(rows *sql.Rows) error {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				return err
			}
			var h ledger.Hash
			err := setHash(&h, b)
			found[k] = h
			return err
		}, `SELECT event_hash FROM event_log WHERE host = ? AND rollout_id = ? AND event_seq = ?`, k.Host, k.RolloutID, int64(k.Seq))
		if err != nil {
			return nil, fmt.Errorf("store: look up event %d of %s: %w", k.Seq, k.Host, err)
		}
	}
	return found, nil
}
