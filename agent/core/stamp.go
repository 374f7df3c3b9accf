package core

import (
	"fmt"
	"time"

	"nixfleet/host"
)

// stamp gives the event with its time in UTC, cut to the millisecond and not below floor: an event never lies before
// the one that came before it, whatever the wall clock did. It returns that time too.
func stamp(e host.Event, floor time.Time) (host.Event, time.Time, error) {
	return retime(e, func(t time.Time) time.Time {
		// Not cut where it becomes a soak's end, which may be finer and must not be fallen below.
		if _, verdict := e.(host.ConvergedReached); !verdict {
			t = t.Truncate(millisecond)
		}
		if t = t.UTC(); t.Before(floor) {
			return floor
		}
		return t
	})
}

// timeOf gives an event's own time.
func timeOf(e host.Event) (time.Time, error) {
	_, at, err := retime(e, func(t time.Time) time.Time { return t })
	return at, err
}

// retime gives the event with its time passed through at, and that time.
func retime(e host.Event, at func(time.Time) time.Time) (host.Event, time.Time, error) {
	switch e := e.(type) {
	case host.Activate:
		e.ReceivedAt = at(e.ReceivedAt)
		return e, e.ReceivedAt, nil
	case host.ActivationStarted:
		e.StartedAt = at(e.StartedAt)
		return e, e.StartedAt, nil
	case host.ActivationCompleted:
		e.CompletedAt = at(e.CompletedAt)
		return e, e.CompletedAt, nil
	case host.ActivationDeferred:
		e.DeferredAt = at(e.DeferredAt)
		return e, e.DeferredAt, nil
	case host.ActivationFailed:
		e.FailedAt = at(e.FailedAt)
		return e, e.FailedAt, nil
	case host.ProbeTopologyDeclared:
		e.DeclaredAt = at(e.DeclaredAt)
		return e, e.DeclaredAt, nil
	case host.ProbeObservedFirst:
		e.ObservedAt = at(e.ObservedAt)
		return e, e.ObservedAt, nil
	case host.ProbeResult:
		e.ObservedAt = at(e.ObservedAt)
		return e, e.ObservedAt, nil
	case host.ProbeFailureFirst:
		e.FirstFailedAt = at(e.FirstFailedAt)
		return e, e.FirstFailedAt, nil
	case host.SustainedFailureCrossed:
		e.FailedAt = at(e.FailedAt)
		return e, e.FailedAt, nil
	case host.RollbackCompleted:
		e.CompletedAt = at(e.CompletedAt)
		return e, e.CompletedAt, nil
	case host.RollbackFailed:
		e.FailedAt = at(e.FailedAt)
		return e, e.FailedAt, nil
	case host.ConvergedReached:
		e.ConvergedAt = at(e.ConvergedAt)
		return e, e.ConvergedAt, nil
	}
	return nil, time.Time{}, fmt.Errorf("core: %w: %T", host.ErrUnknownEvent, e)
}
