package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"nixfleet/agent/client"
	"nixfleet/agent/core"
	"nixfleet/clock"
	"nixfleet/wire"
)

// refusal is the dispatch that the agent will not act on, for the heartbeat.
type refusal struct {
	mu  sync.Mutex
	now *wire.RefusedDispatch
}

func (r *refusal) set(rolloutID, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = &wire.RefusedDispatch{RolloutID: rolloutID, Reason: wire.Text(reason, wire.MaxReason)}
}

func (r *refusal) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = nil
}

func (r *refusal) get() *wire.RefusedDispatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// poller is the long poll's memory between two polls.
type poller struct {
	failed retry // of the calls
	again  retry // of a refused dispatch
	// held is a dispatch that need not be served again before until: refused, or known and not yet acknowledged.
	held  string
	until clock.Reading
	wait  time.Duration
}

// runLongPoll asks for the host's turn whenever the host may take one.
func (a *Agent) runLongPoll(ctx context.Context) error {
	p := &poller{}
	for {
		if v := a.view.Load(); !v.MayAccept || v.Adopts {
			// While a switch is owed nothing may wait inside it; and before one heartbeat was answered an empty
			// journal does not know what the host was in.
			if v.MayAccept && a.greeted.Load() {
				if err := a.pollOnce(ctx, p); err != nil {
					return err
				}
				continue
			}
			if err := a.await(ctx, a.nudge.longpoll, 0); err != nil {
				return err
			}
			continue
		}
		if err := a.pollOnce(ctx, p); err != nil {
			return err
		}
	}
}

// pollOnce is one poll and what comes of it, with the wait that a failure asks for. It returns ctx's end only.
func (a *Agent) pollOnce(ctx context.Context, p *poller) error {
	d, found, err := a.poll(ctx, p)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.log.Debug("poll", "error", err)
		return clock.Sleep(ctx, a.deps.Clock, p.failed.next(err))
	}
	p.failed.reset()
	if !found {
		return nil
	}
	err = a.accept(ctx, &d)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		a.refused.clear()
		p.again.reset()
		p.hold(d.RolloutID, a.deps.Clock.Now(), 0)
	case errors.Is(err, core.ErrSwitching):
		// It is asked for again once the switch is over.
	case errors.Is(err, core.ErrKnown):
		p.hold(d.RolloutID, a.deps.Clock.Now(), p.again.next(nil))
	default:
		a.log.Warn("a dispatch is refused", "rollout", d.RolloutID, "error", err)
		a.metrics.add("dispatches_refused", 1)
		a.refused.set(d.RolloutID, err.Error())
		p.hold(d.RolloutID, a.deps.Clock.Now(), p.again.next(err))
	}
	return nil
}

func (p *poller) hold(rolloutID string, now clock.Reading, wait time.Duration) {
	p.held, p.until, p.wait = rolloutID, now, wait
}

// poll waits at the control plane for a dispatch other than the one that is held.
func (a *Agent) poll(ctx context.Context, p *poller) (d wire.Dispatch, found bool, err error) {
	wait := a.cfg.Intervals.LongPoll
	query := url.Values{}
	if p.held != "" {
		left := p.wait - clock.Elapsed(p.until, a.deps.Clock.Now())
		account, known := a.view.Load().Outbound[p.held]
		switch {
		case left > 0: // refused a while ago: a newer dispatch is welcome meanwhile
			wait = min(wait, max(left.Round(time.Second), time.Second))
			query.Set("have", p.held)
		case known && account.Acked == 0:
			query.Set("have", p.held)
		default:
			p.held = ""
		}
	}
	// The protocol counts whole seconds, and a wait of none would ask again and again.
	query.Set("wait", strconv.Itoa(max(int(wait/time.Second), 1)))
	answer, err := a.call(ctx, client.Request{Method: http.MethodGet, Path: wire.PathDispatch, Query: query, Timeout: wait + pollGrace})
	if err != nil || answer.Status == http.StatusNoContent {
		return d, false, err
	}
	d, found, err = wire.DecodeDispatch(answer.Body)
	if err != nil {
		return d, false, fmt.Errorf("agent: dispatch: %w", err)
	}
	if found && d.RolloutID == p.held {
		// A control plane that does not know `have` serves it again and again.
		return d, false, clock.Sleep(ctx, a.deps.Clock, backoffMin)
	}
	return d, found, nil
}

// pollGrace is how much longer than the wait a poll may take: the way there and back.
const pollGrace = 5 * time.Second

// acceptTries is how often current-system is read anew because a switch ended meanwhile.
const acceptTries = 3

// accept holds a dispatch against its ticket and hands both to the core.
func (a *Agent) accept(ctx context.Context, d *wire.Dispatch) error {
	if d.Hostname != a.cfg.MachineID {
		return fmt.Errorf("%w: %q", core.ErrWrongHost, d.Hostname)
	}
	if a.view.Load().Knows(d.RolloutID) {
		return core.ErrKnown
	}
	ticket, keys, err := a.fetchTicket(ctx, d.RolloutID)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		in := core.Dispatch{Message: *d, Ticket: ticket, Keys: keys, MaxAge: a.cfg.MaxSignatureAge, Current: a.readCurrent(ctx)}
		if err = a.ask(ctx, in); !errors.Is(err, core.ErrStaleReading) || try == acceptTries {
			return err
		}
	}
}
