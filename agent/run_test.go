package agent

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"nixfleet/host"
	"nixfleet/journal/journaltest"
	"nixfleet/wire"
)

func TestAHostConvergesAndTellsItsControlPlane(t *testing.T) {
	inBubble(t, func(s *site) {
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(40 * time.Second)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		if got := s.cp.kinds(); got != "DispatchAck ActivationStarted ActivationCompleted ProbeTopologyDeclared Converged" {
			t.Error(got)
		}
		if got := s.host.fired(); got != "v2" {
			t.Error(got)
		}
		if len(s.host.pins) != 0 {
			t.Error("the prior closure is still pinned", s.host.pins)
		}
		s.pass(2 * time.Minute)
		beat := s.cp.beats[len(s.cp.beats)-1]
		if s.cp.beats[0].RolloutID != "" || beat.RolloutID != "stable@a" || beat.CurrentClosure != v2 || beat.OutboxDepth != 0 {
			t.Errorf("%+v", beat)
		}
		stop()
	})
}

// broken declares a check that fails wherever it runs.
func (s *site) broken() {
	check := `{"bad":{"kind":"exec","mode":"enforce","intervalSeconds":5,"command":["/nonexistent"]}}`
	if err := os.WriteFile(s.cfg.HealthChecksFile, []byte(check), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func TestAHostRollsItselfBackWithoutItsControlPlane(t *testing.T) {
	inBubble(t, func(s *site) {
		s.broken()
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(2 * time.Second)
		s.cp.mu.Lock()
		s.cp.down = true
		s.cp.mu.Unlock()
		s.pass(time.Minute)
		if got := s.states(); got != "Activating Soaking Failed Reverted" {
			t.Error(got)
		}
		if got := s.host.fired(); got != "v2 v1" {
			t.Error(got)
		}
		s.cp.mu.Lock()
		s.cp.down = false
		s.cp.mu.Unlock()
		s.pass(10 * time.Minute)
		if got := s.cp.kinds(); got != "DispatchAck ActivationStarted ActivationCompleted ProbeTopologyDeclared ProbeObservedFirst ProbeFailureFirst ProbeResult Failed RollbackComplete" {
			t.Error(got)
		}
		stop()
	})
}

func TestAnAgentThatDiesInASwitchTakesItUpAgain(t *testing.T) {
	inBubble(t, func(s *site) {
		s.host.took = 20 * time.Second
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(5 * time.Second)
		stop()
		s.pass(5 * time.Second)
		stop = s.run()
		s.pass(time.Minute)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		if got := s.host.fired(); got != "v2" {
			t.Error("fired", got)
		}
		stop()
	})
}

func TestAUnitThatVanishesIsAFailureAndTheHostGoesBack(t *testing.T) {
	inBubble(t, func(s *site) {
		s.host.lose = true
		s.cp.send(s.release("stable@a", v2))
		stop := s.run()
		s.pass(100 * time.Millisecond)
		stop()
		s.host.lose = false
		stop = s.run()
		s.pass(2 * time.Minute) // the rollback vanished too, and is tried again after a minute
		if got := s.states(); got != "Activating Failed Reverted" {
			t.Error(got)
		}
		if got := s.host.fired(); got != "v2 v1 v1" {
			t.Error(got)
		}
		stop()
	})
}

func TestAWipedControlPlaneIsToldEverythingAgain(t *testing.T) {
	inBubble(t, func(s *site) {
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(time.Minute)
		was := s.cp.kinds()
		s.cp.mu.Lock()
		s.cp.stored, s.cp.order = map[string]map[uint64]wire.Envelope{}, nil
		s.cp.answer.ReplayFrom = map[string]uint64{"stable@a": 0}
		s.cp.mu.Unlock()
		s.pass(2 * time.Minute)
		if got := s.cp.kinds(); got != was {
			t.Errorf("%s\nwas %s", got, was)
		}
		stop()
	})
}

func TestARefusedEventBecomesADeadLetterAndTheRestGoesOn(t *testing.T) {
	for _, batches := range []bool{true, false} {
		inBubble(t, func(s *site) {
			s.cp.batches = batches
			s.cp.status = func(env wire.Envelope) int {
				if env.Kind == "ActivationStarted" {
					return http.StatusUnprocessableEntity
				}
				return 0
			}
			stop := s.run()
			s.pass(time.Second)
			s.cp.send(s.release("stable@a", v2))
			s.pass(3 * time.Minute)
			if got := s.cp.kinds(); got != "DispatchAck ActivationCompleted ProbeTopologyDeclared Converged" {
				t.Error(got)
			}
			if env := s.cp.stored["stable@a"][3]; !env.HasAfter || env.After != 1 {
				t.Errorf("the hole is not stated: %+v", env)
			}
			if beat := s.cp.beats[len(s.cp.beats)-1]; beat.DeadLetters != 1 {
				t.Errorf("%+v", beat)
			}
			stop()
		})
	}
}

func TestAnIdentityThatIsRefusedKeepsEverythingAndIsShown(t *testing.T) {
	inBubble(t, func(s *site) {
		s.cp.status = func(wire.Envelope) int { return http.StatusForbidden }
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(2 * time.Minute)
		if beat := s.cp.beats[len(s.cp.beats)-1]; beat.OutboxDepth != 5 {
			t.Errorf("%+v", beat)
		}
		s.cp.mu.Lock()
		s.cp.status = nil
		s.cp.mu.Unlock()
		s.pass(6 * time.Minute)
		if got := s.cp.kinds(); got != "DispatchAck ActivationStarted ActivationCompleted ProbeTopologyDeclared Converged" {
			t.Error(got)
		}
		stop()
	})
}

func TestADispatchThatItsTicketDoesNotBackIsRefusedAndShown(t *testing.T) {
	inBubble(t, func(s *site) {
		d := s.release("stable@a", v2)
		d.TargetClosure = v3
		s.cp.send(d)
		stop := s.run()
		s.pass(3 * time.Minute)
		if got := s.host.fired() + s.states(); got != "" {
			t.Error(got)
		}
		beat := s.cp.beats[len(s.cp.beats)-1]
		if beat.Refused == nil || beat.Refused.RolloutID != "stable@a" {
			t.Errorf("%+v", beat)
		}
		// A newer, honest one is taken meanwhile.
		s.cp.send(s.release("stable@b", v2))
		s.pass(time.Minute)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		stop()
	})
}

func TestAFailedCommitAppliesNothingUntilItSucceeds(t *testing.T) {
	inBubble(t, func(s *site) {
		disk := journaltest.New()
		s.fs = disk
		stop := s.run()
		s.pass(time.Second)
		disk.Inject(func(op journaltest.Op) journaltest.Fault {
			return journaltest.Fault{Err: syscall.EIO}
		})
		s.cp.send(s.release("stable@a", v2))
		s.pass(time.Minute)
		if got := s.states() + s.host.fired(); got != "" {
			t.Error("acted before the commit:", got)
		}
		s.pass(2 * time.Minute)
		if beat := s.cp.beats[len(s.cp.beats)-1]; beat.Degraded == "" || beat.RolloutID != "" {
			t.Errorf("%+v", beat)
		}
		disk.Inject(nil)
		s.pass(2 * time.Minute)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		if got := s.host.fired(); got != "v2" {
			t.Error(got)
		}
		if beat := s.cp.beats[len(s.cp.beats)-1]; beat.Degraded != "" {
			t.Errorf("%+v", beat)
		}
		stop()
	})
}

func TestAFullDiskStillCommitsAVerdictAndItsRollback(t *testing.T) {
	inBubble(t, func(s *site) {
		disk := journaltest.New()
		s.fs = disk
		s.broken()
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(2 * time.Second)
		disk.SetCapacity(disk.Used())
		s.pass(2 * time.Minute)
		if got := s.states(); got != "Activating Soaking Failed Reverted" {
			t.Error(got)
		}
		stop()
	})
}

func TestAWipedAgentIsRestoredBySnapshots(t *testing.T) {
	inBubble(t, func(s *site) {
		s.fs = journaltest.New()
		s.soak = 300
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(time.Minute)
		stop()
		s.fs = journaltest.New() // the state directory is gone
		s.cp.mu.Lock()
		s.cp.answer.Bootstrap = []wire.Snapshot{{
			RolloutID: "stable@a", Hostname: web, Channel: "stable", State: host.Soaking, TargetClosure: v2, CurrentClosureAtDispatch: v1,
			DispatchedAt: s.clock.Now().Wall, LastEventSeq: 4,
		}}
		s.cp.mu.Unlock()
		stop = s.run()
		s.pass(4 * time.Minute)
		if got := s.states(); got != "Activating Soaking" {
			t.Error("it did not soak anew:", got)
		}
		s.pass(2 * time.Minute)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		if got := s.host.fired(); got != "v2" {
			t.Error(got)
		}
		s.pass(time.Minute)
		if env := s.cp.stored["stable@a"]; len(env) != 6 || env[6].Kind != "Converged" {
			t.Error(s.cp.kinds())
		}
		stop()
	})
}
