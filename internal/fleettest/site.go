package fleettest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"nixfleet/clock"
	"nixfleet/controlplane"
	"nixfleet/keydir"
	"nixfleet/operator"
	"nixfleet/rollout"
)

// Channel is the one channel of a site.
const Channel = "stable"

// The rhythms of a site: short, so that a test sees a whole rollout in seconds.
const (
	heartbeat    = 400 * time.Millisecond
	planInterval = 50 * time.Millisecond
	documentPoll = 100 * time.Millisecond
	// Limit is how long anything may take: two busy cores, and the backoff of an agent that could not get through.
	Limit = 40 * time.Second
)

// Site is an organisation, its control plane and its hosts, all below one temporary folder.
type Site struct {
	T     testing.TB
	Dir   string
	URL   string // of the control plane, running or not
	Clock *Clock // of the control plane and of the agents

	names   []string
	hosts   map[string]*Host
	machine clock.Clock
	address string
	log     Log
	cp      *part
	client  *operator.Client
}

// Clock is the machine's clock, which a test may put forward.
type Clock struct {
	clock.Clock
	ahead atomic.Int64
}

// Now is the machine's time and what it was put forward.
func (c *Clock) Now() clock.Reading {
	r, d := c.Clock.Now(), time.Duration(c.ahead.Load())
	r.Wall, r.Boot = r.Wall.Add(d), r.Boot+d
	return r
}

// Forward puts the clock forward. Timers that run are not shortened.
func (c *Clock) Forward(d time.Duration) { c.ahead.Add(int64(d)) }

// New makes keys, folders and hosts. Nothing is published and nothing runs yet, but the hosts' services.
func New(t testing.TB, names ...string) *Site {
	t.Helper()
	s := &Site{T: t, Dir: t.TempDir(), names: names, hosts: map[string]*Host{}}
	clk, err := clock.System()
	s.must(err)
	s.machine, s.Clock = clk, &Clock{Clock: clk}
	s.address = freeAddress(t)
	s.URL = "https://" + s.address
	for _, d := range []string{s.published(), s.releases(), filepath.Dir(s.Database())} {
		s.must(os.MkdirAll(d, 0o755))
	}
	_, err = keydir.Create(s.Keys(), "admin", nil, clk.Now().Wall)
	s.must(err)
	base := filepath.Join(s.Keys(), keydir.Operator("admin"))
	s.client, err = operator.NewClient(s.URL, base+".pem", base+".key", filepath.Join(s.Keys(), keydir.ServerCA+".pem"))
	s.must(err)
	t.Cleanup(s.close)
	for _, name := range names {
		s.hosts[name] = s.install(name)
	}
	return s
}

// freeAddress finds a loopback port below those that the kernel gives out by itself: a control plane that comes back
// needs its port again, and nobody may have got it meanwhile.
func freeAddress(t testing.TB) string {
	t.Helper()
	const first, most, tries = 20000, 10000, 100
	var problem error
	for range tries {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(most))
		l, err := net.Listen("tcp", address)
		if err != nil {
			problem = err
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal(problem)
	return ""
}

func (s *Site) close() {
	for _, h := range s.hosts {
		h.close()
	}
	s.StopControlPlane()
	s.client.Close()
	if s.T.Failed() {
		s.T.Logf("control plane:\n%s", s.log.Tail())
	}
}

func (s *Site) must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// Keys is the folder of the organisation's keys.
func (s *Site) Keys() string { return filepath.Join(s.Dir, "keys") }

func (s *Site) published() string { return filepath.Join(s.Dir, "published") }
func (s *Site) releases() string  { return filepath.Join(s.Dir, "releases") }

// Database is the control plane's.
func (s *Site) Database() string { return filepath.Join(s.Dir, "cp", "nixfleet.db") }

// Host gives a host by its name.
func (s *Site) Host(name string) *Host {
	s.T.Helper()
	h := s.hosts[name]
	if h == nil {
		s.T.Fatalf("no host %s", name)
	}
	return h
}

// Operator is a client of the operator API.
func (s *Site) Operator() *operator.Client { return s.client }

// Log is the control plane's, over all of its lives.
func (s *Site) Log() *Log { return &s.log }

// ServerCertificate is the control plane's, for a test that wants to be one.
func (s *Site) ServerCertificate() tls.Certificate {
	s.T.Helper()
	base := filepath.Join(s.Keys(), keydir.Server)
	cert, err := tls.LoadX509KeyPair(base+".pem", base+".key")
	s.must(err)
	return cert
}

// Address is where agents look for their control plane.
func (s *Site) Address() string { return s.address }

// StartControlPlane starts it on whatever its database holds.
func (s *Site) StartControlPlane() {
	s.T.Helper()
	keys := func(name string) string { return filepath.Join(s.Keys(), name) }
	settings := rollout.DefaultSettings()
	settings.HeartbeatInterval = 2 * heartbeat
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cp, err := controlplane.New(s.T.Context(), controlplane.Config{
		Listen: s.address, Database: s.Database(), DocumentsDir: s.published(), TrustFile: keys(keydir.TrustFile),
		ServerCert: keys(keydir.Server + ".pem"), ServerKey: keys(keydir.Server + ".key"),
		AgentCACert: keys(keydir.AgentsCA + ".pem"), OperatorCACert: keys(keydir.OperatorsCA + ".pem"),
		Planner: settings, DocumentsPoll: documentPoll, PlanInterval: planInterval,
	}, controlplane.Deps{Clock: s.Clock, Logger: log})
	s.must(err)
	s.cp = start(cp.Run)
}

// StopControlPlane ends it in good order; one that does not run stays so.
func (s *Site) StopControlPlane() {
	s.T.Helper()
	if s.cp == nil {
		return
	}
	if err := s.cp.stop(); err != nil {
		s.T.Errorf("control plane: %v", err)
	}
	s.cp = nil
}

// WipeControlPlane removes the database of a control plane that does not run, with everything beside it.
func (s *Site) WipeControlPlane() {
	s.T.Helper()
	if s.cp != nil {
		s.T.Fatal("the control plane runs")
	}
	s.must(os.RemoveAll(filepath.Dir(s.Database())))
}

// StartAgents starts every agent that does not run.
func (s *Site) StartAgents() {
	s.T.Helper()
	for _, name := range slices.Sorted(slices.Values(s.names)) {
		if h := s.hosts[name]; h.agent == nil {
			h.Start()
		}
	}
}

// part is something that runs until it is stopped.
type part struct {
	cancel context.CancelFunc
	ended  chan error
}

func start(run func(context.Context) error) *part {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- run(ctx) }()
	return p
}

func (p *part) stop() error {
	p.cancel()
	return <-p.ended
}
