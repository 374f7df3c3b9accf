package host

import (
	"fmt"
	"time"
)

// At returns the event's own time: when what it tells happened on the host. docs/design/02-host-state-machine.md, 2.2.
func At(e Event) (time.Time, error) {
	switch e := e.(type) {
	case Activate:
		return e.ReceivedAt, nil
	case ActivationStarted:
		return e.StartedAt, nil
	case ActivationCompleted:
		return e.CompletedAt, nil
	case ActivationDeferred:
		return e.DeferredAt, nil
	case ActivationFailed:
		return e.FailedAt, nil
	case ProbeTopologyDeclared:
		return e.DeclaredAt, nil
	case ProbeObservedFirst:
		return e.ObservedAt, nil
	case ProbeResult:
		return e.ObservedAt, nil
	case ProbeFailureFirst:
		return e.FirstFailedAt, nil
	case SustainedFailureCrossed:
		return e.FailedAt, nil
	case RollbackCompleted:
		return e.CompletedAt, nil
	case RollbackFailed:
		return e.FailedAt, nil
	case ConvergedReached:
		return e.ConvergedAt, nil
	}
	return time.Time{}, fmt.Errorf("host: %w: %T", ErrUnknownEvent, e)
}
