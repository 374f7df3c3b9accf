package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nixfleet/host"
	"nixfleet/operator"
	"nixfleet/wire"
)

// Transition is one change of a host's state, as --json prints it.
type Transition struct {
	At        time.Time `json:"at"`
	Host      string    `json:"host"`
	RolloutID string    `json:"rolloutId"`
	From      string    `json:"from"`
	To        string    `json:"to"`
}

// pollInterval is how often the demo looks: a person sees no delay, and the control plane no load.
const pollInterval = 200 * time.Millisecond

// watcher follows one rollout through the operator API and tells its transitions, each once and in order. It works
// while the control plane is being killed: what cannot be reached is asked again.
type watcher struct {
	client *operator.Client
	id     string
	after  uint64
	states map[string]host.State
	tell   func(Transition)
	seen   []Transition
}

func newWatcher(client *operator.Client, id string, tell func(Transition)) *watcher {
	return &watcher{client: client, id: id, states: map[string]host.State{}, tell: tell}
}

// poll reads what is new and returns the rollout as it stands; nil as long as there is none.
func (w *watcher) poll(ctx context.Context) (*operator.Rollout, error) {
	// The rollout first: whatever led to its state is then in the log already.
	list, err := w.client.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.client.Trace(ctx, "", w.id, w.after, w.row); err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].RolloutID == w.id {
			return &list[i], nil
		}
	}
	return nil, nil
}

func (w *watcher) row(raw json.RawMessage) error {
	r, err := readRow(raw)
	if err != nil {
		return err
	}
	w.after = r.seq
	if r.eventSeq == 0 || len(r.flags) > 0 {
		return nil
	}
	_, event, err := wire.DecodeEvent(r.event)
	if err != nil {
		return err
	}
	to, moved := transition(event, w.states[r.host])
	if !moved {
		return nil
	}
	at, err := host.At(event)
	if err != nil {
		return err
	}
	t := Transition{At: at, Host: r.host, RolloutID: r.rollout, From: w.states[r.host].String(), To: to.String()}
	w.states[r.host] = to
	w.seen = append(w.seen, t)
	w.tell(t)
	return nil
}

// errTooLong ends a phase that does not come to its end.
var errTooLong = errors.New("demo: this takes too long")

// until polls until the rollout is in the wanted state, or limit has passed.
func (w *watcher) until(ctx context.Context, want string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLong)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	last := "not opened"
	for {
		r, err := w.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %s is %s after %s, want %s", context.Cause(ctx), w.id, last, limit, want)
		case err != nil && !errors.Is(err, operator.ErrUnreachable):
			return err
		case err == nil && r != nil:
			if last = r.State; last == want {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
