package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"nixfleet/clock"
	"nixfleet/controlplane/api"
	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/source"
	"nixfleet/controlplane/store"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
)

// Deps are what a control plane is given. Only Clock and Logger are needed.
type Deps struct {
	Clock           clock.Clock
	Logger          *slog.Logger
	Store           store.Store                 // nil: SQLite at Config.Database
	Documents       source.Reader               // nil: the directory Config.DocumentsDir
	Listener        net.Listener                // nil: Config.Listen
	MetricsListener net.Listener                // nil: Config.MetricsListen, if that is set
	OnLogRow        func(*ledger.Row)           // called by the reducer for every durable row; must not block
	OnTransition    func(host.RecordTransition) // the same for every transition
}

// ControlPlane is one control plane, made by New and run once.
type ControlPlane struct {
	config  Config
	deps    Deps
	reducer *reducer
	keeper  *source.Keeper
	metrics *metrics
	roots   api.Roots
	server  tls.Certificate
	closers []func() error

	documents   atomic.Pointer[core.Documents]
	revocations atomic.Pointer[fleet.Revocations]
	refresh     chan struct{} // capacity 1: look at the documents now
}

// New opens the store, reads the keys and rebuilds the mirror. On an error everything is closed again.
func New(ctx context.Context, c Config, d Deps) (*ControlPlane, error) {
	cp := &ControlPlane{config: c, deps: d, refresh: make(chan struct{}, 1)}
	if err := cp.open(ctx); err != nil {
		return nil, errors.Join(err, cp.close())
	}
	return cp, nil
}

func (cp *ControlPlane) open(ctx context.Context) error {
	if err := cp.readKeys(); err != nil {
		return err
	}
	if cp.deps.Store == nil {
		db, err := store.OpenSQLite(ctx, cp.config.Database, cp.deps.Logger)
		if err != nil {
			return err
		}
		cp.deps.Store = db
		cp.closers = append(cp.closers, db.Close)
	}
	roots, err := trust.LoadFile(cp.config.TrustFile)
	if err != nil {
		return err
	}
	if cp.deps.Documents == nil {
		dir := source.NewDirectory(cp.config.DocumentsDir)
		cp.deps.Documents = dir
		cp.closers = append(cp.closers, dir.Close)
	}
	cp.keeper = source.NewKeeper(cp.deps.Documents, roots)
	image, err := cp.deps.Store.Load(ctx)
	if err != nil {
		return err
	}
	c, err := core.New(image, cp.config.Planner, cp.deps.Clock.Now().Wall)
	if err != nil {
		return err
	}
	cp.makeReducer(c)
	return cp.listen(ctx)
}

func (cp *ControlPlane) makeReducer(c *core.Core) {
	r := &reducer{
		inputs: make(chan request, inputCapacity), core: c, store: cp.deps.Store, keeper: cp.keeper, hub: newHub(c.Queued()),
		clock: cp.deps.Clock, log: cp.deps.Logger, done: make(chan struct{}), onRow: cp.deps.OnLogRow, onMove: cp.deps.OnTransition,
	}
	cp.metrics = newMetrics(func() float64 { return float64(r.hub.Parked()) }, func() float64 { return float64(len(r.inputs)) })
	r.metrics = cp.metrics
	cp.reducer = r
}

// listen opens the listeners, so that an address in use is an error of New.
func (cp *ControlPlane) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range []struct {
		into    *net.Listener
		address string
	}{{&cp.deps.Listener, cp.config.Listen}, {&cp.deps.MetricsListener, cp.config.MetricsListen}} {
		if *l.into != nil || l.address == "" {
			continue
		}
		got, err := lc.Listen(ctx, "tcp", l.address)
		if err != nil {
			return fmt.Errorf("controlplane: %w", err)
		}
		*l.into = got
	}
	for _, l := range []net.Listener{cp.deps.Listener, cp.deps.MetricsListener} {
		if l != nil {
			cp.closers = append(cp.closers, closeOnce(l))
		}
	}
	if cp.deps.Listener == nil {
		return errors.New("controlplane: no address to listen on")
	}
	return nil
}

// closeOnce closes a listener that a server may have closed already.
func closeOnce(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// Addr is where agents and operators reach this control plane.
func (cp *ControlPlane) Addr() net.Addr { return cp.deps.Listener.Addr() }

// Refresh has the documents looked at now, without waiting for it.
func (cp *ControlPlane) Refresh() {
	select {
	case cp.refresh <- struct{}{}:
	default: // asked for already
	}
}

// Run serves until ctx ends and returns when every goroutine has ended and everything is closed: nil after an ordinary
// end, else what failed.
func (cp *ControlPlane) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reduce, stopReducing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReducing()
	var reducing, workers sync.WaitGroup
	reducing.Go(func() { cp.reducer.run(reduce) })
	cp.lookAtDocuments(ctx) // before the first request: who must sign what comes from the fleet
	errs := make(chan error, 2)
	for _, s := range cp.servers(ctx) {
		workers.Go(func() {
			if err := s.serve(ctx); err != nil {
				errs <- err
				cancel(err)
			}
		})
	}
	workers.Go(func() { cp.keepDocuments(ctx) })
	workers.Go(func() { cp.tick(ctx) })
	workers.Wait()
	// Outermost first: the handlers have ended, so nobody waits for the reducer any more.
	stopReducing()
	reducing.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(append(all, cp.close())...)
}

func (cp *ControlPlane) close() error {
	var errs []error
	for i := len(cp.closers) - 1; i >= 0; i-- {
		errs = append(errs, cp.closers[i]())
	}
	cp.closers = nil
	return errors.Join(errs...)
}

// keepDocuments looks at the documents again and again, and when asked to.
func (cp *ControlPlane) keepDocuments(ctx context.Context) {
	for {
		t := cp.deps.Clock.NewTimer(cp.config.DocumentsPoll)
		select {
		case <-t.C:
		case <-cp.refresh:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
		cp.lookAtDocuments(ctx)
	}
}

func (cp *ControlPlane) lookAtDocuments(ctx context.Context) {
	d, changed, err := cp.keeper.Refresh(cp.deps.Clock.Now().Wall)
	if err != nil {
		cp.metrics.badDocuments.Inc()
		cp.deps.Logger.Warn("documents refused; the last good ones stay", "error", err)
	}
	if r := cp.keeper.Revocations(); !r.IsZero() {
		cp.revocations.Store(r.Value())
	}
	if !changed {
		return
	}
	cp.documents.Store(d)
	cp.deps.Logger.Info("documents in force", "rollouts", len(d.Manifests), "signedAt", d.Fleet.SignedAt())
	cp.send(ctx, core.DocumentsChanged{Documents: d})
}

// send hands the reducer an input that must not be lost, however busy it is.
func (cp *ControlPlane) send(ctx context.Context, in core.Input) {
	for {
		_, err := cp.reducer.Submit(ctx, in)
		if err == nil || ctx.Err() != nil {
			return
		}
		if err := clock.Sleep(ctx, cp.deps.Clock, sendAgain); err != nil {
			return
		}
	}
}

// sendAgain is the wait after a refused input of our own.
const sendAgain = 500 * time.Millisecond

// tick lets the planner see what time alone changed.
func (cp *ControlPlane) tick(ctx context.Context) {
	for clock.Sleep(ctx, cp.deps.Clock, cp.config.PlanInterval) == nil {
		// A tick that is refused or fails is followed by another.
		if _, err := cp.reducer.Submit(ctx, core.Tick{}); err != nil && ctx.Err() == nil {
			cp.deps.Logger.Debug("tick refused", "error", err)
		}
	}
}

// isReady says why this control plane is not ready, "" if it is.
func (cp *ControlPlane) isReady() string {
	if d := cp.documents.Load(); d == nil || d.Fleet.IsZero() {
		return "no fleet was verified yet"
	}
	return ""
}
