package controlplane

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"nixfleet/clock"
	"nixfleet/controlplane/api"
	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/controlplane/source"
	"nixfleet/controlplane/store"
	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/trust"
)

// inputCapacity is how many requests wait for the reducer: a second's worth at full load. More is answered 503, so
// that agents back off before their requests time out here.
const inputCapacity = 1024

// maxBatchEvents bounds the events of one transaction, which is what its latency depends on.
const maxBatchEvents = 1024

// request is an input on its way to the reducer. reply has room for the one answer, so the reducer never waits.
type request struct {
	input core.Input
	reply chan reply
}

type reply struct {
	answer core.Answer
	err    error
}

// reducer is the one goroutine that changes the mirror and plans.
type reducer struct {
	inputs  chan request
	core    *core.Core
	store   store.Store
	keeper  *source.Keeper
	hub     *hub
	clock   clock.Clock
	log     *slog.Logger
	metrics *metrics
	done    chan struct{} // closed when it has ended
	head    atomic.Pointer[ledger.Head]
	onRow   func(*ledger.Row)
	onMove  func(host.RecordTransition)
}

// Submit hands an input to the reducer and waits for the answer, which comes once the commit is durable. ErrBusy
// means that nothing happened; after ErrUnavailable, or when ctx ended, it may have.
func (r *reducer) Submit(ctx context.Context, in core.Input) (core.Answer, error) {
	req := request{input: in, reply: make(chan reply, 1)}
	select {
	case <-r.done:
		return nil, api.ErrUnavailable
	default:
	}
	select {
	case r.inputs <- req:
	default:
		r.metrics.full.Inc()
		return nil, api.ErrBusy
	}
	select {
	case got := <-req.reply:
		return got.answer, got.err
	case <-r.done:
		return nil, api.ErrUnavailable
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run reduces until ctx ends. What is accepted by then is still answered by those who wait: with ErrUnavailable.
func (r *reducer) run(ctx context.Context) {
	defer close(r.done)
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-r.inputs:
			r.reduce(ctx, r.batch(first))
		}
	}
}

// batch takes what else is waiting.
func (r *reducer) batch(first request) []request {
	batch := []request{first}
	events := weight(first)
	for len(batch) < core.MaxBatch && events < maxBatchEvents {
		select {
		case next := <-r.inputs:
			batch = append(batch, next)
			events += weight(next)
		default:
			return batch
		}
	}
	return batch
}

func weight(r request) int {
	if e, ok := r.input.(core.Events); ok {
		return len(e.Received)
	}
	return 1
}

// reduce decides a batch, commits it and answers. A batch in which the program contradicts itself is taken apart, so
// that one bad input does not take the others with it.
func (r *reducer) reduce(ctx context.Context, batch []request) {
	err := r.try(ctx, batch)
	if err == nil {
		return
	}
	if len(batch) == 1 || !errors.Is(err, errDecide) {
		r.log.Error("batch not committed", "inputs", len(batch), "error", err)
		for _, req := range batch {
			req.reply <- reply{err: api.ErrUnavailable}
		}
		return
	}
	for i := range batch {
		r.reduce(ctx, batch[i:i+1])
	}
}

// errDecide is the class of errors of the core, as opposed to those of the store.
var errDecide = errors.New("controlplane: the core refused the batch")

func (r *reducer) try(ctx context.Context, batch []request) error {
	inputs := make([]core.Input, len(batch))
	for i := range batch {
		inputs[i] = batch[i].input
	}
	now := r.clock.Now().Wall
	recalled, err := r.recall(ctx, inputs, now)
	if err != nil {
		return err
	}
	commit, err := r.core.Handle(inputs, recalled, now)
	if err != nil {
		return errors.Join(errDecide, err)
	}
	begun := r.clock.Now()
	// The commit of a request whose client left must not be cut off in the middle.
	if err := r.store.Commit(context.WithoutCancel(ctx), &commit.Ledger); err != nil {
		r.core.Dropped(commit)
		r.metrics.commitFailures.Inc()
		return err
	}
	r.core.Applied(commit)
	head := r.core.Head()
	r.head.Store(&head)
	r.metrics.observe(commit, len(batch), clock.Elapsed(begun, r.clock.Now()))
	r.apply(commit)
	for i := range batch {
		batch[i].reply <- reply{answer: commit.Answers[i]}
	}
	return nil
}

// apply does what a durable commit asks for.
func (r *reducer) apply(commit *core.Commit) {
	for i := range commit.Ledger.Dispatches {
		d := &commit.Ledger.Dispatches[i]
		r.hub.set(d.Host, !d.Gone)
	}
	for _, l := range commit.Logs {
		args := make([]any, len(l.Attrs))
		for i, a := range l.Attrs {
			args[i] = a
		}
		r.log.Log(context.Background(), slog.Level(l.Level), l.Message, args...)
	}
	if r.onRow != nil {
		for i := range commit.Ledger.Rows {
			r.onRow(&commit.Ledger.Rows[i])
		}
	}
	if r.onMove != nil {
		for _, t := range commit.Transitions {
			r.onMove(t)
		}
	}
}

// recall fetches what the core wants to know of a batch. A ticket that is missing or bad is left out: the core then
// knows that there is none to rely on.
func (r *reducer) recall(ctx context.Context, inputs []core.Input, now time.Time) (core.Recalled, error) {
	wanted := r.core.Recall(inputs)
	var out core.Recalled
	var err error
	if len(wanted.Hashes) > 0 {
		if out.Hashes, err = r.store.EventHashes(ctx, wanted.Hashes); err != nil {
			return out, err
		}
	}
	out.Tickets = make(map[core.TicketKey]trust.Verified[*fleet.Ticket], len(wanted.Tickets))
	for _, key := range wanted.Tickets {
		v, err := r.keeper.Ticket(key.RolloutID, key.Host, now)
		switch {
		case err == nil:
			out.Tickets[key] = v
		case !errors.Is(err, source.ErrNotFound):
			r.metrics.badDocuments.Inc()
			r.log.Warn("ticket refused", "host", key.Host, "rolloutId", key.RolloutID, "error", err)
		}
	}
	return out, nil
}
