package store

import (
	"context"
	"errors"

	"nixfleet/controlplane/ledger"
)

// The errors of a store.
var (
	ErrLocked   = errors.New("another control plane uses this database")
	ErrNotFound = errors.New("not found")
	// ErrMoved means that the log does not end where the commit begins: someone else wrote to it.
	ErrMoved = errors.New("the log was written to by someone else")
)

// Store keeps the log and the views. Implements docs/design/07-control-plane.md.
type Store interface {
	// Load reads everything a control plane starts from.
	Load(ctx context.Context) (*ledger.Image, error)
	// Commit writes all of c or nothing, and returns nil only when it is durable. Rows must follow the log's head.
	Commit(ctx context.Context, c *ledger.Commit) error
	// EventHashes looks up stored events by their agents' numbers; what was never stored is absent from the answer.
	EventHashes(ctx context.Context, keys []ledger.EventKey) (map[ledger.EventKey]ledger.Hash, error)
	// Rows calls visit for every row with a seq above after, in order, until visit returns an error.
	Rows(ctx context.Context, after uint64, visit func(*ledger.Row) error) error
	// Trace calls visit for the rows of a host, of a rollout, or of both ("" matches any) with a seq above after, in order.
	Trace(ctx context.Context, host, rolloutID string, after uint64, visit func(*ledger.Row) error) error
	// Ticket returns a ticket as it was captured, or ErrNotFound.
	Ticket(ctx context.Context, rolloutID, host string) (ledger.Ticket, error)
	Close() error
}
