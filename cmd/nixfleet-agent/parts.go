package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"nixfleet/agent"
	"nixfleet/agent/activation"
	"nixfleet/agent/config"
	"nixfleet/agent/probe"
	"nixfleet/clock"
	"nixfleet/trust"
)

// errUnfit: check found something bad, and has said so.
var errUnfit = errors.New("the machine is not fit")

func runAgent(ctx context.Context, args []string, stderr io.Writer) error {
	cfg, err := config.Load(args, os.Environ())
	if err == nil {
		err = cfg.RequireFiles()
	}
	if err != nil {
		return err
	}
	clk, err := clock.System()
	if err != nil {
		return err
	}
	backend, err := openBackend(&cfg, clk)
	if err != nil {
		return err
	}
	a, err := agent.New(cfg, agent.Deps{Clock: clk, Backend: backend, Logger: logger(&cfg, stderr)})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func logger(cfg *config.Config, stderr io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo // the configuration has refused every other name
	}
	opt := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, opt))
	}
	return slog.New(slog.NewTextHandler(stderr, opt))
}

// openBackend opens the directory backend, whose helper is this very program.
func openBackend(cfg *config.Config, clk clock.Clock) (activation.Backend, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own path: %w", err)
	}
	return activation.OpenDirectory(activation.DirectoryConfig{
		Root: cfg.DirectoryRoot, CurrentSystem: cfg.CurrentSystemPath, Releases: cfg.ReleasesDir, Helper: []string{self, "switch"},
	}, clk)
}

func check(ctx context.Context, args []string, stdout io.Writer) error {
	cfg, err := config.Load(args, os.Environ())
	if err != nil {
		return err
	}
	findings := config.Check(ctx, cfg, config.Parts{
		TrustFile: func(path string) error { _, err := trust.LoadFile(path); return err },
		HostKey:   func(pem []byte) error { _, err := trust.ParseHostKey(pem); return err },
		HealthChecks: func(path string, floor time.Duration) []string {
			return probe.Load(path, floor).Defects()
		},
		Backend: func(ctx context.Context) (string, error) {
			clk, err := clock.System()
			if err != nil {
				return "", err
			}
			backend, err := openBackend(&cfg, clk)
			if err != nil {
				return "", err
			}
			return backend.Current(ctx)
		},
	})
	for _, f := range findings {
		if _, err := fmt.Fprintln(stdout, f); err != nil {
			return err
		}
	}
	if config.Worst(findings) == config.Bad {
		return errUnfit
	}
	return nil
}
