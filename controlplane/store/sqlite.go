package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver called "sqlite"

	"nixfleet/controlplane/ledger"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers bounds the reading connections: traces and exports are rare, and each costs a page cache.
const readers = 4

// SQLite is a store in one file.
type SQLite struct {
	writer *sql.DB // one connection: SQLite has one writer, and waiting for it in Go is fairer than its busy loop
	reader *sql.DB
	lock   *os.File // nil when opened for reading
	stmts  statements
}

var _ Store = (*SQLite)(nil)

// OpenSQLite opens the database at path for writing, creates it (0600) if it is not there and brings its tables up
// to date. ErrLocked means that another process writes to it.
func OpenSQLite(ctx context.Context, path string, log *slog.Logger) (*SQLite, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	s := &SQLite{lock: lock}
	if err := s.open(ctx, path, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ReadSQLite opens an existing database for reading; a control plane may be writing to it at the same time.
func ReadSQLite(ctx context.Context, path string) (*SQLite, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db, err := connect(path, "ro", readers)
	if err != nil {
		return nil, err
	}
	s := &SQLite{reader: db}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", path, err), s.Close())
	}
	return s, nil
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s: %w", path, ErrLocked), f.Close())
	}
	return f, nil
}

func (s *SQLite) open(ctx context.Context, path string, log *slog.Logger) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.writer, err = connect(path, "rwc", 1); err != nil {
		return err
	}
	if err := migrate(ctx, s.writer, log); err != nil {
		return err
	}
	if err := s.stmts.prepare(ctx, s.writer); err != nil {
		return err
	}
	s.reader, err = connect(path, "ro", readers)
	return err
}

// connect opens a pool of at most n connections. synchronous(FULL) makes a commit survive power loss; the default of
// a write-ahead log does not.
func connect(path, mode string, n int) (*sql.DB, error) {
	query := url.Values{
		"mode":    {mode},
		"_pragma": {"busy_timeout(5000)", "synchronous(FULL)", "temp_store(MEMORY)", "cache_size(-16000)"},
	}
	if mode != "ro" {
		query["_pragma"] = append(query["_pragma"], "journal_mode(WAL)")
		query.Set("_txlock", "immediate")
	}
	dsn := url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: query.Encode()}
	if !filepath.IsAbs(path) {
		dsn = url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: query.Encode()}
	}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: read the database's version: %w", err)
	}
	if current > target {
		return fmt.Errorf("store: the database has version %d, this program knows up to %d: run the newer program", current, target)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("store: bring the tables up to date: %w", err)
	}
	return nil
}

// Close ends all connections and gives the lock back.
func (s *SQLite) Close() error {
	var errs []error
	errs = append(errs, s.stmts.close())
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// Ticket implements [Store].
func (s *SQLite) Ticket(ctx context.Context, rolloutID, host string) (ledger.Ticket, error) {
	t := ledger.Ticket{RolloutID: rolloutID, Host: host}
	err := s.reader.QueryRowContext(ctx, `SELECT hash, raw, signature FROM tickets WHERE rollout_id = ? AND host = ?`, rolloutID, host).Scan(&t.Hash, &t.Raw, &t.Signature)
	if errors.Is(err, sql.ErrNoRows) {
		return t, fmt.Errorf("store: ticket of %s in %s: %w", host, rolloutID, ErrNotFound)
	}
	if err != nil {
		return t, fmt.Errorf("store: ticket of %s in %s: %w", host, rolloutID, err)
	}
	return t, nil
}
