package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/host"
	"nixfleet/journal"
)

// unsynced is the machine's file system without its fsync: a benchmark of reading need not wait for the writing.
type unsynced struct{ journal.FS }

type unsyncedFile struct{ journal.File }

func (unsyncedFile) Sync() error { return nil }

func (f unsynced) wrap(file journal.File, err error) (journal.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{file}, nil
}
func (f unsynced) Create(name string) (journal.File, error)    { return f.wrap(f.FS.Create(name)) }
func (f unsynced) OpenWrite(name string) (journal.File, error) { return f.wrap(f.FS.OpenWrite(name)) }
func (f unsynced) SyncDir(string) error                        { return nil }

// backlog writes a journal of n events that nobody has acknowledged.
func backlog(tb testing.TB, s *site, n int) {
	tb.Helper()
	c := core.New(core.Options{Hostname: web, Code: Version, Epoch: "e"})
	j, _, err := journal.Open(journal.Options{Dir: filepath.Join(s.cfg.StateDir, JournalDir), FS: unsynced{journal.OS()}, Schema: core.Schema})
	if err != nil {
		tb.Fatal(err)
	}
	now := s.clock.Now()
	give := func(in core.Input) {
		now.Wall, now.Boot = now.Wall.Add(time.Millisecond), now.Boot+time.Millisecond
		commit := c.Handle([]core.Input{in}, now)
		if err := commit.Results[0]; err != nil {
			tb.Fatal(err)
		}
		if _, err := j.Append(commit.Frame); err != nil {
			tb.Fatal(err)
		}
		c.Applied(commit)
		if j.NeedsRotation() {
			if err := j.Rotate(c.Snapshot()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	give(s.inputFor("stable@a", v2))
	give(core.HostEvent{RolloutID: "stable@a", Event: host.ActivationCompleted{ObservedCurrentClosure: v2, CompletedAt: now.Wall}})
	for i := range n - 2 {
		give(core.HostEvent{RolloutID: "stable@a", Event: host.ProbeResult{ProbeName: "probe-" + strconv.Itoa(i%10), Mode: host.Enforce, ObservedAt: now.Wall}})
	}
	if err := j.Close(); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkReopen is the time from opening the state directory until the first batch of the backlog is signed.
func BenchmarkReopen(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run("backlog="+strconv.Itoa(n), func(b *testing.B) {
			s := newSite(b, b.TempDir())
			s.clock = clock.Process("boot-1")
			backlog(b, s, n)
			for b.Loop() {
				a, err := New(s.cfg, Deps{Clock: s.clock, Backend: s.host, HTTP: s.http()})
				if err != nil {
					b.Fatal(err)
				}
				if err := a.open(); err != nil {
					b.Fatal(err)
				}
				owed, _, err := a.owed(256)
				if err != nil || len(owed) != 256 {
					b.Fatal(len(owed), err)
				}
				if err := a.journal.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestABacklogGoesOutInOrderAndOnce(t *testing.T) {
	inBubble(t, func(s *site) {
		backlog(t, s, 3000)
		s.host.current, s.host.profile = v2, v2
		stop := s.run()
		s.pass(10 * time.Second)
		s.cp.mu.Lock()
		n := len(s.cp.stored["stable@a"])
		s.cp.mu.Unlock()
		if n < 3000 {
			t.Error(n, "of 3000 arrived")
		}
		stop()
		synctest.Wait()
	})
}

// TestABacklogIsWrittenWhereABenchmarkAsksForIt serves .ci/bench, which measures the agent as a program on it.
func TestABacklogIsWrittenWhereABenchmarkAsksForIt(t *testing.T) {
	dir := os.Getenv("NIXFLEET_BENCH_BACKLOG")
	if dir == "" {
		t.Skip("NIXFLEET_BENCH_BACKLOG names no state directory")
	}
	s := newSite(t, t.TempDir())
	s.clock = clock.Process("boot-1")
	s.cfg.StateDir = dir
	backlog(t, s, 100_000)
}
