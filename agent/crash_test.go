package agent

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nixfleet/journal/journaltest"
)

// Whatever moment the power goes at, the host ends where it would have ended, and the control plane has every event
// once, in order, and no other.
func TestAnAgentThatDiesAtAnyMomentEndsWhereItWould(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(s *site) {
				rng := rand.New(rand.NewPCG(seed, 1))
				disk := journaltest.New()
				s.fs = disk
				s.host.took = 3 * time.Second
				want := "Converged"
				if seed%2 == 1 {
					s.broken()
					want = "RollbackComplete"
				}
				s.cp.send(s.release("stable@a", v2))
				for range 6 {
					stop := s.run()
					s.pass(time.Duration(rng.Int64N(int64(8 * time.Second))))
					stop()
					disk = disk.Crash(journaltest.Dropped)
					s.fs = disk
				}
				stop := s.run()
				s.pass(10 * time.Minute)
				stop()
				log := s.cp.stored["stable@a"]
				for seq := uint64(1); seq <= uint64(len(log)); seq++ {
					if _, ok := log[seq]; !ok {
						t.Errorf("no event %d of %d: %s", seq, len(log), s.cp.kinds())
					}
				}
				if last := log[uint64(len(log))]; last.Kind != want {
					t.Errorf("ended with %s: %s", last.Kind, s.cp.kinds())
				}
				if fired := len(s.host.fires); fired > 2 {
					t.Errorf("fired %d times: %s", fired, s.host.fired())
				}
			})
		})
	}
}
