package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"nixfleet/agent"
	"nixfleet/agent/activation"
	"nixfleet/agent/config"
	"nixfleet/clock"
)

// inProcess runs the control plane and every agent as goroutines of the demo itself. Only switches are processes.
type inProcess struct {
	world    *world
	listener net.Listener
	log      *slog.Logger

	cancel context.CancelFunc
	all    sync.WaitGroup
	mu     sync.Mutex
	failed []error // what ended by itself
}

func newInProcess(w *world, listener net.Listener, log *slog.Logger) *inProcess {
	return &inProcess{world: w, listener: listener, log: log}
}

func (p *inProcess) start(ctx context.Context) error {
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx)) // the demo's end is told by stop, in order
	clk, err := clock.System()
	if err != nil {
		return err
	}
	cp, err := openControlPlane(ctx, p.world.dir, p.listener.Addr().String(), clk, p.log, p.listener)
	if err != nil {
		return err
	}
	p.run("control plane", func() error { return cp.Run(ctx) })
	for _, m := range p.world.hosts {
		a, err := openAgent(m.settings(), clk, p.log.With("host", m.name))
		if err != nil {
			return fmt.Errorf("demo: agent of %s: %w", m.name, err)
		}
		p.run("agent of "+m.name, func() error { return a.Run(ctx) })
	}
	return nil
}

func (p *inProcess) run(name string, f func() error) {
	p.all.Go(func() {
		if err := f(); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = append(p.failed, fmt.Errorf("demo: %s: %w", name, err))
		}
	})
}

func (p *inProcess) during() func(context.Context) error { return nil }

func (p *inProcess) stop() error {
	if p.cancel != nil {
		p.cancel()
	}
	p.all.Wait()
	return errors.Join(p.failed...)
}

// openAgent makes an agent from its settings file, as nixfleet-agent does, with this program as the switch helper.
func openAgent(settings string, clk clock.Clock, log *slog.Logger) (*agent.Agent, error) {
	cfg, err := config.Load([]string{"--config", settings}, nil)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	backend, err := activation.OpenDirectory(activation.DirectoryConfig{
		Root: cfg.DirectoryRoot, CurrentSystem: cfg.CurrentSystemPath, Releases: cfg.ReleasesDir,
		Helper: []string{self, roleSwitch},
	}, clk)
	if err != nil {
		return nil, err
	}
	return agent.New(cfg, agent.Deps{Clock: clk, Backend: backend, Logger: log})
}
