package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"nixfleet/clock"
	"nixfleet/controlplane"
	"nixfleet/controlplane/config"
	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/store"
)

// errNo is the class of an answer that is no.
var errNo = errors.New("no")

const usage = `nixfleet-cp serve [flags]                   run the control plane
nixfleet-cp export --db PATH                the event log as JSON lines; its head on standard error
nixfleet-cp rebuild-views --db PATH         derive the views from the log and compare them with those stored
nixfleet-cp version

serve takes, as flag, environment variable or key of the file:
`

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	settings, err := config.Load(args, os.Environ())
	if err != nil {
		return err
	}
	clk, err := clock.System()
	if err != nil {
		return err
	}
	log := logger(&settings, stderr)
	cp, err := controlplane.New(ctx, settings.Config, controlplane.Deps{Clock: clk, Logger: log})
	if err != nil {
		return err
	}
	log.Info("serving", "version", controlplane.Version, "address", cp.Addr().String())
	return cp.Run(ctx)
}

func logger(s *config.Settings, stderr io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo // the configuration has refused every other name
	}
	opt := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, opt))
	}
	return slog.New(slog.NewTextHandler(stderr, opt))
}

// readDatabase opens the database that --db names, for reading.
func readDatabase(ctx context.Context, command string, args []string) (*store.SQLite, error) {
	flags := flag.NewFlagSet("nixfleet-cp "+command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("db", "", "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", config.ErrConfig, err)
	case *path == "" || flags.NArg() > 0:
		return nil, fmt.Errorf("%w: want nixfleet-cp %s --db PATH", config.ErrConfig, command)
	}
	return store.ReadSQLite(ctx, *path)
}

// export writes the log as JSON lines, and its head, without which a cut tail cannot be told, to stderr.
func export(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	db, err := readDatabase(ctx, "export", args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	out := bufio.NewWriter(stdout)
	var head ledger.Head
	var line []byte
	err = db.Rows(ctx, 0, func(row *ledger.Row) error {
		head = ledger.Head{Seq: row.Seq, Hash: row.Hash}
		if line, err = row.AppendLine(line[:0]); err != nil {
			return err
		}
		_, err := out.Write(append(line, '\n'))
		return err
	})
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stderr, head.Hash)
	return err
}

// rebuildViews applies the log to nothing and compares the views that result with those stored.
func rebuildViews(ctx context.Context, args []string, stdout io.Writer) (err error) {
	db, err := readDatabase(ctx, "rebuild-views", args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	stored, err := db.Load(ctx)
	if err != nil {
		return err
	}
	differences, err := core.Rebuild(stored, func(visit func(*ledger.Row) error) error { return db.Rows(ctx, 0, visit) })
	if err != nil {
		return err
	}
	for _, d := range differences {
		if _, err := fmt.Fprintln(stdout, d); err != nil {
			return err
		}
	}
	if len(differences) > 0 {
		return fmt.Errorf("%w: %d views are not what the log says", errNo, len(differences))
	}
	_, err = fmt.Fprintf(stdout, "the views are what the %d rows of the log say, head %s\n", stored.Head.Seq, stored.Head.Hash)
	return err
}
