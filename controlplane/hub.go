package controlplane

import (
	"sync"
)

// hub connects hosts that wait for a dispatch with the commits that bring one: one waiter per host, one map entry
// touched per wake.
type hub struct {
	mu      sync.Mutex
	waiters map[string]*waiter
	queued  map[string]struct{} // hosts with a dispatch in the mirror
}

// waiter is one parked poll.
type waiter struct {
	wake chan struct{} // capacity 1: a wake while the poll is busy is not lost
	over chan struct{} // closed when another poll of the host took its place
}

func newHub(queued []string) *hub {
	h := &hub{waiters: map[string]*waiter{}, queued: make(map[string]struct{}, len(queued))}
	for _, name := range queued {
		h.queued[name] = struct{}{}
	}
	return h
}

// Join parks a poll of the host and ends the one before it. leave must be called when the poll is answered.
func (h *hub) Join(host string) (wake, over <-chan struct{}, leave func()) {
	w := &waiter{wake: make(chan struct{}, 1), over: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.waiters[host]; old != nil {
		close(old.over)
	}
	h.waiters[host] = w
	return w.wake, w.over, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.waiters[host] == w {
			delete(h.waiters, host)
		}
	}
}

// Queued says whether the host has a dispatch to ask for. Most polls find none and never reach the reducer.
func (h *hub) Queued(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.queued[host]
	return ok
}

// set notes that the host has, or has no longer, a dispatch, and wakes its poll if it has.
func (h *hub) set(host string, queued bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !queued {
		delete(h.queued, host)
		return
	}
	h.queued[host] = struct{}{}
	if w := h.waiters[host]; w != nil {
		select {
		case w.wake <- struct{}{}:
		default: // woken already and not yet looked
		}
	}
}

// Parked is how many polls wait.
func (h *hub) Parked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiters)
}
