package probe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nixfleet/agent/probe"
	"nixfleet/clock"
	"nixfleet/host"
)

// asked is a check that answers what the test says at that moment.
type asked func(ctx context.Context) error

func (a asked) Run(ctx context.Context) ([]host.SubResult, error) { return nil, a(ctx) }

// says is a check whose answer the test changes while it runs.
type says struct {
	mu  sync.Mutex
	err error
	sub host.Status
}

func (s *says) Run(context.Context) ([]host.SubResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []host.SubResult{{ControlID: "ctl", Status: s.sub}}, s.err
}

func (s *says) now(err error, sub host.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.sub = err, sub
}

// heard collects what was emitted, each with the time since the start.
type heard struct {
	mu    sync.Mutex
	began time.Time
	lines []string
}

func (h *heard) emit(_ context.Context, events []host.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.lines = append(h.lines, fmt.Sprintf("%v %s", time.Since(h.began), line(e)))
	}
}

func line(e host.Event) string {
	switch e := e.(type) {
	case host.ProbeTopologyDeclared:
		return fmt.Sprintf("declared %v", e.Probes)
	case host.ProbeObservedFirst:
		return "first " + e.ProbeName
	case host.ProbeFailureFirst:
		return "failing " + e.ProbeName
	case host.ProbeResult:
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.ProbeName, e.Status, e.FailureReason))
	}
	return fmt.Sprintf("unexpected %T", e)
}

// take returns what was heard since the last take, without the topology.
func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := slices.DeleteFunc(h.lines, func(s string) bool { return strings.Contains(s, " declared ") })
	h.lines = nil
	return lines
}

func (h *heard) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := h.take(); !slices.Equal(got, want) {
		t.Fatalf("heard\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func start(h *heard, prior []*host.Probe, probes ...probe.Declared) *probe.Set {
	h.began = time.Now()
	deps := probe.Deps{Clock: clock.Process("boot"), Emit: h.emit, Jitter: func() float64 { return 0 }}
	return probe.Start(context.Background(), deps, probe.Declarations{Probes: probes}, prior)
}

func declared(name string, check probe.Check) probe.Declared {
	return probe.Declared{Name: name, Kind: "exec", Interval: 10 * time.Second, Timeout: 3 * time.Second, Check: check}
}

var errDown = errors.New("down")

func TestATickSaysFirstRunThenFirstFailureThenResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		c := &says{err: errDown}
		s := start(&h, nil, declared("web", c))
		defer s.Stop()
		synctest.Wait()
		h.expect(t, "0s first web", "0s failing web", "0s web fail down")
		c.now(nil, host.Pass)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.expect(t, "10s web pass")
		c.now(errDown, host.Pass)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.expect(t, "20s failing web", "20s web fail down")
	})
}

func TestAnUnchangedResultIsPassedOnOnceAMinuteAndAChangeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		c := &says{}
		s := start(&h, nil, declared("web", c))
		defer s.Stop()
		time.Sleep(125 * time.Second)
		synctest.Wait()
		h.expect(t, "0s first web", "0s web pass", "1m0s web pass", "2m0s web pass")
		c.now(errDown, host.Pass)
		time.Sleep(10 * time.Second)
		c.now(errors.New("down, but otherwise"), host.Pass) // a reason is no change
		time.Sleep(10 * time.Second)
		c.now(nil, host.Pass)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.expect(t, "2m10s failing web", "2m10s web fail down", "2m30s web pass")
	})
}

func TestAChangedSubResultIsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		c := &says{}
		s := start(&h, nil, declared("evidence", c))
		defer s.Stop()
		synctest.Wait()
		c.now(nil, host.Fail)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		h.expect(t, "0s first evidence", "0s evidence pass", "10s evidence pass")
	})
}

func TestAHungProbeFailsAtItsTimeoutAndGoesOnFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		release := make(chan struct{})
		var runs atomic.Int32
		s := start(&h, nil, declared("web", asked(func(context.Context) error { runs.Add(1); <-release; return nil })))
		time.Sleep(64 * time.Second)
		synctest.Wait()
		h.expect(t, "3s first web", "3s failing web", "3s web fail exec: no answer within 3s", "1m3s web fail exec: no answer within 1m3s")
		if n := runs.Load(); n != 1 {
			t.Fatalf("%d runs in flight", n)
		}
		close(release)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.expect(t, "1m10s web pass") // the late answer counted for nothing, the next run for all
		s.Stop()
	})
}

func TestARunThatOutlivesItsTimeoutIsToldToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		s := start(&h, nil, declared("web", asked(func(ctx context.Context) error { <-ctx.Done(); return nil })))
		defer s.Stop()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		h.expect(t, "3s first web", "3s failing web", "3s web fail exec: no answer within 3s")
	})
}

func TestARunLongerThanTheIntervalSkipsPlacesButKeepsTheGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		var runs []time.Duration
		p := declared("web", nil)
		p.Timeout = time.Minute
		p.Check = asked(func(context.Context) error {
			runs = append(runs, time.Since(h.began))
			time.Sleep(14 * time.Second)
			return nil
		})
		s := start(&h, nil, p)
		time.Sleep(50 * time.Second)
		s.Stop()
		if want := []time.Duration{0, 20 * time.Second, 40 * time.Second}; !slices.Equal(runs, want) {
			t.Fatalf("ran at %v, want %v", runs, want)
		}
	})
}

func TestAProbeThatRunsOnceRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		p := declared("web", asked(func(context.Context) error { return nil }))
		p.RunOnce = true
		s := start(&h, nil, p)
		time.Sleep(5 * time.Minute)
		s.Stop()
		h.expect(t, "0s first web", "0s web pass")

		s = start(&h, []*host.Probe{{Name: "web", Status: host.Pass}}, p)
		time.Sleep(5 * time.Minute)
		s.Stop()
		h.expect(t) // it has its result already
	})
}

func TestAfterARestartAProbeGoesOnFromItsRecordedResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		failing := declared("web", asked(func(context.Context) error { return errDown }))
		s := start(&h, []*host.Probe{{Name: "web", Status: host.Fail}}, failing)
		time.Sleep(time.Second)
		s.Stop()
		h.expect(t, "0s web fail down")
		s = start(&h, []*host.Probe{{Name: "web", Status: host.Pass}}, failing)
		time.Sleep(time.Second)
		s.Stop()
		h.expect(t, "0s failing web", "0s web fail down")
	})
}

func TestADisabledProbeIsDeclaredAndNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		p := declared("web", asked(func(context.Context) error { panic("ran") }))
		p.Mode = host.Disabled
		s := start(&h, nil, p)
		time.Sleep(time.Minute)
		s.Stop()
		if want := []string{"0s declared [{web exec disabled}]"}; !slices.Equal(h.lines, want) {
			t.Fatalf("heard %v", h.lines)
		}
	})
}

func TestATopologyIsDeclaredEvenIfThereIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		start(&h, nil).Stop()
		if want := []string{"0s declared []"}; !slices.Equal(h.lines, want) {
			t.Fatalf("heard %v", h.lines)
		}
		if (probe.Declarations{}).Topology() == nil {
			t.Fatal("nil means not declared yet")
		}
	})
}

func TestAPanicIsAFailureOfTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		s := start(&h, nil, declared("web", asked(func(context.Context) error { panic("ouch") })))
		defer s.Stop()
		synctest.Wait()
		h.expect(t, "0s first web", "0s failing web", "0s web fail panic: ouch")
	})
}

func TestStopWaitsForRunsInFlightAndNothingIsSaidAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heard
		ended := false
		s := start(&h, nil, declared("web", asked(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second) // it takes its time to clear up
			ended = true
			return nil
		})))
		synctest.Wait()
		s.Stop()
		if !ended {
			t.Fatal("Stop did not wait")
		}
		h.expect(t)
	})
}

func TestFirstRunsAreSpreadOverFiveSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ interval, want time.Duration }{
			{time.Hour, 2500 * time.Millisecond}, {2 * time.Second, time.Second},
		} {
			var ran time.Duration
			began := time.Now()
			p := declared("web", asked(func(context.Context) error { ran = time.Since(began); return nil }))
			p.Interval, p.RunOnce = c.interval, true
			deps := probe.Deps{Clock: clock.Process("boot"), Emit: (&heard{}).emit, Jitter: func() float64 { return 0.5 }}
			s := probe.Start(t.Context(), deps, probe.Declarations{Probes: []probe.Declared{p}}, nil)
			time.Sleep(10 * time.Second)
			s.Stop()
			if ran != c.want {
				t.Errorf("interval %v: first run after %v, want %v", c.interval, ran, c.want)
			}
		}
	})
}

func TestAReasonIsCutBetweenRunesAndMarked(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "failed without a reason"},
		{"short", "short"},
		{strings.Repeat("a", 512), strings.Repeat("a", 512)},
		{strings.Repeat("a", 513), strings.Repeat("a", 512) + "...[truncated]"},
		{strings.Repeat("a", 511) + "éé", strings.Repeat("a", 511) + "...[truncated]"},
		{strings.Repeat("a", 510) + "éé", strings.Repeat("a", 510) + "é...[truncated]"},
		{strings.Repeat("€", 200), strings.Repeat("€", 170) + "...[truncated]"},
		{"bad \xff byte", "bad ? byte"},
	} {
		if got := probe.Reason(c.in); got != c.want {
			t.Errorf("%d bytes: got %q, want %q", len(c.in), got, c.want)
		}
	}
}
