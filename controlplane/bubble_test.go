package controlplane_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nixfleet/clock"
	"nixfleet/controlplane"
	"nixfleet/controlplane/store"
	"nixfleet/internal/pipenet"
	"nixfleet/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inBubble runs a test of a whole control plane on the bubble's clock and network. The bubble itself fails the test if
// a goroutine is left.
func inBubble(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		network := pipenet.Listen()
		s.deps.Clock = clock.Process("bubble")
		s.deps.Listener = network
		for _, m := range s.machines {
			m.client.Transport.(*http.Transport).DialContext = network.DialContext
		}
		s.bubble = true
		test(t, s)
	})
}

func TestAPollIsParkedForItsWholeWaitAndNoLonger(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.publish("v1", "b")
		s.start()
		a := s.machines["a"]
		a.beat(nil)
		begun := time.Now()
		if d, ok := a.poll("wait=60"); ok {
			t.Errorf("dispatched: %+v", d)
		}
		if took := time.Since(begun); took != 60*time.Second {
			t.Errorf("answered after %s", took)
		}
		begun = time.Now()
		a.poll("wait=7200")
		if took := time.Since(begun); took != 60*time.Second {
			t.Errorf("a wait of two hours was answered after %s", took)
		}
		must(t, s.shutdown())
	})
}

func TestACommitWakesTheParkedPollAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.publish("v1", "b")
		s.start()
		a, b := s.machines["a"], s.machines["b"]
		a.beat(nil)
		b.beat(nil)
		woken := make(chan time.Time, 1)
		go func() {
			if _, ok := a.poll("wait=60"); ok {
				woken <- time.Now()
			}
			close(woken)
		}()
		synctest.Wait()
		d, _ := b.poll("wait=1")
		b.switchTo(d, "v0-closure")
		last := time.Now()
		if at, ok := <-woken; !ok || at.Sub(last) > time.Second {
			t.Errorf("woken %v, %s after the last event", ok, at.Sub(last))
		}
		must(t, s.shutdown())
	})
}

func TestASecondPollEndsTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.publish("v1", "b")
		s.start()
		a := s.machines["a"]
		first := make(chan int, 1)
		go func() {
			status, _, _ := s.call(a.client, "GET", wire.PathDispatch+"?wait=60", nil)
			first <- status
		}()
		synctest.Wait() // the first is parked
		if d, ok := a.poll("wait=1"); ok {
			t.Errorf("dispatched: %+v", d)
		}
		if status := <-first; status != http.StatusTooManyRequests {
			t.Errorf("the first poll got %d", status)
		}
		must(t, s.shutdown())
	})
}

func TestShutdownEndsParkedPollsAndJoinsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.publish("v1", "b")
		s.start()
		polls := make(chan bool, 2)
		for _, name := range []string{"a"} {
			go func() {
				_, ok := s.machines[name].poll("wait=60")
				polls <- ok
			}()
		}
		synctest.Wait()
		begun := time.Now()
		must(t, s.shutdown())
		if ok := <-polls; ok {
			t.Error("a poll got a dispatch from a control plane that stops")
		}
		// A connection that has not said anything yet is given five seconds by net/http.
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("shutdown took %s", took)
		}
	})
}

func TestASilentHostIsNotDispatchedAndOneThatReturnsIs(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.start()
		a := s.machines["a"]
		a.beat(nil)
		s.wait(4 * time.Minute)
		s.publish("v1")
		s.wait(time.Minute)
		if d, ok := a.poll("wait=10"); ok {
			t.Errorf("dispatched after four minutes of silence: %+v", d)
		}
		a.beat(nil)
		if _, ok := a.poll("wait=10"); !ok {
			t.Error("not dispatched after its heartbeat")
		}
		must(t, s.shutdown())
	})
}

func TestAnAddressInUseAndAMissingKeyAreErrorsOfNew(t *testing.T) {
	s := newSite(t, "a")
	s.publish("v1")
	s.start()
	c := s.config()
	c.Listen = s.cp.Addr().String()
	c.Database += "2"
	if _, err := controlplane.New(t.Context(), c, s.deps); err == nil {
		t.Error("two control planes on one address")
	}
	c = s.config()
	if _, err := controlplane.New(t.Context(), c, s.deps); !errors.Is(err, store.ErrLocked) {
		t.Errorf("two control planes on one database: %v", err)
	}
	c.ServerKey += "x"
	if _, err := controlplane.New(t.Context(), c, s.deps); err == nil {
		t.Error("no server key, no error")
	}
}

func TestARunThatIsCancelledBeforeItBeginsEnds(t *testing.T) {
	s := newSite(t, "a")
	s.publish("v1")
	s.deps.Clock = clock.Process("test")
	s.deps.Logger = quietLogger(s)
	cp, err := controlplane.New(t.Context(), s.config(), s.deps)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, cp.Run(ctx))
}
