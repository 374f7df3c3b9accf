package agent

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"

	"nixfleet/wire"
)

// status is why the agent does less than it should, by cause. It is shown in the heartbeat, the metrics, /readyz and
// systemd's status.
type status struct {
	metrics *metrics
	log     *slog.Logger

	mu     sync.Mutex
	causes map[string]string
}

func newStatus(m *metrics, log *slog.Logger) *status {
	return &status{metrics: m, log: log, causes: map[string]string{}}
}

func (s *status) set(cause, text string) {
	s.mu.Lock()
	known, was := s.causes[cause]
	s.causes[cause] = text
	n := len(s.causes)
	s.mu.Unlock()
	if was && known == text {
		return
	}
	s.log.Warn("degraded", "cause", cause, "reason", text)
	s.metrics.set("degraded", float64(n))
	s.tell("STATUS=degraded: " + strings.ReplaceAll(text, "\n", " "))
}

func (s *status) clear(cause string) {
	s.mu.Lock()
	_, was := s.causes[cause]
	delete(s.causes, cause)
	n := len(s.causes)
	s.mu.Unlock()
	if !was {
		return
	}
	s.log.Info("no longer degraded", "cause", cause)
	s.metrics.set("degraded", float64(n))
	if n == 0 {
		s.tell("STATUS=running")
	}
}

// degraded gives all causes as one line, "" if there are none.
func (s *status) degraded() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.causes))
	for cause := range s.causes {
		names = append(names, cause)
	}
	slices.Sort(names)
	for i, cause := range names {
		names[i] = cause + ": " + s.causes[cause]
	}
	return wire.Text(strings.Join(names, "; "), wire.MaxReason)
}

// tell speaks to systemd, where it listens.
func (s *status) tell(line string) {
	if _, err := daemon.SdNotify(false, line); err != nil {
		s.log.Debug("sd_notify", "error", err)
	}
}
