package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"nixfleet/agent/activation"
	"nixfleet/agent/client"
	"nixfleet/agent/config"
	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/journal"
	"nixfleet/trust"
)

// Version is what this program calls itself in heartbeats and in the journal.
const Version = "0.1.0"

// Deps are the parts that differ between a real host, the demo and a test.
type Deps struct {
	Clock   clock.Clock
	Backend activation.Backend
	Logger  *slog.Logger
	// OnTransition, if set, is called by the reducer for every change of a host's state, after it is durable. It must
	// return soon.
	OnTransition func(host.RecordTransition)
	HTTP         *http.Client // nil: TLS as the configuration says
	JournalFS    journal.FS   // nil: the machine's
	SegmentBytes int64        // of the journal; 0: its default
}

// Agent is one host's agent. Make it with New, run it once.
type Agent struct {
	cfg      config.Config
	deps     Deps
	log      *slog.Logger
	key      ed25519.PrivateKey
	client   *client.Client
	instance string
	started  clock.Reading

	journal *journal.Journal
	core    *core.Core // the reducer's
	view    atomic.Pointer[core.View]
	tail    atomic.Pointer[journal.Pos] // the last frame that the view, or one before it, is made of
	inputs  chan request
	nudge   nudges
	status  *status
	metrics *metrics
	probes  *probeBoard
	etags   etags

	taken   *core.Intent // the activation worker's: the intent that was fired, perhaps by an earlier process
	refused refusal
	greeted atomic.Bool // a heartbeat was answered
}

// inputCapacity bounds the reducer's channel: a rollout's peak burst is one activation triple, one result per probe
// and one verdict; 32 covers it, doubled.
const inputCapacity = 64

// New checks what can be checked without touching the state directory: keys and roots.
func New(cfg config.Config, deps Deps) (*Agent, error) {
	if deps.Clock == nil || deps.Backend == nil {
		return nil, errors.New("agent: Deps without Clock or Backend")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	pem, err := os.ReadFile(cfg.SSHHostKeyFile)
	if err != nil {
		return nil, fmt.Errorf("agent: host key: %w", err)
	}
	key, err := trust.ParseHostKey(pem)
	if err != nil {
		return nil, fmt.Errorf("agent: host key %s: %w", cfg.SSHHostKeyFile, err)
	}
	c, err := client.New(client.Options{
		Base: cfg.ControlPlaneURL, CACert: cfg.CACert, Cert: cfg.ClientCert, Key: key,
		UserAgent: "nixfleet-agent/" + Version, HTTP: deps.HTTP,
	})
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{
		cfg: cfg, deps: deps, log: deps.Logger, key: key, client: c, instance: randomID(), started: deps.Clock.Now(),
		inputs: make(chan request, inputCapacity), nudge: newNudges(), metrics: newMetrics(), probes: &probeBoard{},
	}
	a.status = newStatus(a.metrics, a.log)
	return a, nil
}

// randomID gives 128 random bits in hex.
func randomID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails since Go 1.24: it ends the process instead
	return hex.EncodeToString(b)
}

// bootHeartbeat bounds the first heartbeat, so that a control plane that hangs delays a host by no more.
const bootHeartbeat = 30 * time.Second

// errStopped is the cause of a shutdown that was asked for.
var errStopped = errors.New("agent: stopped")

// Run opens the journal, recovers, and runs until ctx ends, which is not an error. It returns when every goroutine
// it started has.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.open(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	all.Go(func() { // the reducer's end cancels the workers
		defer cancel(errStopped)
		a.reduce(ctx)
	})
	if err := a.serve(ctx, &all); err != nil {
		cancel(err)
		all.Wait()
		return errors.Join(err, a.journal.Close())
	}
	a.recover(ctx)
	a.startWorkers(ctx, &all)
	a.notifyReady()
	<-ctx.Done()
	all.Wait()
	a.client.Close()
	a.notify("STOPPING=1")
	return a.journal.Close()
}

// recover decides what the host's state alone can decide, then says hello. docs/design/04-agent.md, 4.4.
func (a *Agent) recover(ctx context.Context) {
	if err := a.ask(ctx, core.AdvanceTick{Current: a.readCurrent(ctx)}); err != nil {
		a.log.Warn("boot recovery", "error", err)
	}
	hello, cancel := context.WithTimeout(ctx, bootHeartbeat)
	defer cancel()
	if err := a.beat(hello, true); err != nil && ctx.Err() == nil {
		a.log.Warn("first heartbeat", "error", err)
	}
}

func (a *Agent) startWorkers(ctx context.Context, all *sync.WaitGroup) {
	workers := []struct {
		name string
		run  func(context.Context) error
	}{
		{"activation", a.runActivation},
		{"probe", a.runProbes},
		{"advance", a.runAdvance},
		{"heartbeat", a.runHeartbeat},
		{"outbound", a.runOutbound},
		{"longpoll", a.runLongPoll},
		{"manifest poll", a.runManifestPoll},
		{"retention", a.runRetention},
	}
	for _, w := range workers {
		all.Go(func() { a.supervise(ctx, w.name, w.run) })
	}
}

// open takes the journal and rebuilds the core from it.
func (a *Agent) open() error {
	dir := filepath.Join(a.cfg.StateDir, JournalDir)
	j, opened, err := journal.Open(journal.Options{Dir: dir, FS: a.deps.JournalFS, Schema: core.Schema, SegmentBytes: a.deps.SegmentBytes})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	a.journal = j
	for _, d := range opened.Damage {
		a.log.Error("the journal is damaged", "file", d.File, "offset", d.Offset, "reason", d.Reason, "kept", d.SetAside)
	}
	damaged := len(opened.Damage) > 0 || opened.NewerSchema
	if opened.NewerSchema {
		a.status.set("journal-newer", "a newer release wrote the journal; it was set aside")
	}
	opt := core.Options{Hostname: a.cfg.MachineID, Code: Version, Epoch: randomID()}
	re, err := core.Reopen(opt, opened.Snapshot)
	if err != nil {
		// What the journal holds intact is not what we can read: go on without, and ask for snapshots.
		a.log.Error("the journal's snapshot cannot be read", "error", err)
		if re, err = core.Reopen(opt, nil); err != nil {
			return errors.Join(fmt.Errorf("agent: %w", err), j.Close())
		}
		damaged = true
	}
	last := opened.SnapshotPos
	err = j.Scan(opened.SnapshotPos, func(f journal.Frame) error {
		last = f.Pos
		if f.Kind != journal.Commit {
			return nil
		}
		if err := re.Frame(f.Payload); err != nil {
			a.log.Error("a commit of the journal cannot be read", "segment", f.Pos.Segment, "offset", f.Pos.Offset, "error", err)
			damaged = true
		}
		return nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("agent: %w", err), j.Close())
	}
	differs := 0
	a.core, differs = re.Core(damaged)
	if differs > 0 {
		a.metrics.add("replay_differences", float64(differs))
		a.log.Warn("this program would have decided otherwise; the journal holds", "steps", differs)
	}
	a.view.Store(a.core.View())
	a.tail.Store(&last)
	a.taken = a.core.View().Intent
	if opened.Snapshot == nil || damaged {
		a.rotate() // the epoch must outlive this process
	}
	return nil
}

// JournalDir is the journal's folder within the state directory.
const JournalDir = "journal"

// readCurrent reads current-system. An unreadable one has no closure.
func (a *Agent) readCurrent(ctx context.Context) core.Current {
	c := core.Current{Began: a.deps.Clock.Now()}
	closure, err := a.deps.Backend.Current(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("current-system cannot be read", "error", err)
			a.metrics.add("current_system_errors", 1)
		}
		return c
	}
	c.Closure = closure
	return c
}
