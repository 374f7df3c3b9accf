package agent

import (
	"time"

	"nixfleet/agent/activation"
	"nixfleet/host"
)

// forwardEvent says what an outcome of the forward switch is to the state machine.
func forwardEvent(out activation.Outcome, at time.Time) host.Event {
	switch o := out.(type) {
	case activation.Completed:
		return host.ActivationCompleted{ObservedCurrentClosure: o.Closure, ExitCode: o.ExitCode(), CompletedAt: at}
	case activation.Deferred:
		return host.ActivationDeferred{Component: o.Component, DeferredAt: at}
	case activation.SignatureMismatch, activation.RealiseFailed, activation.SwitchFailed, activation.VerifyMismatch, activation.TimedOut:
	}
	return host.ActivationFailed{ExitCode: out.ExitCode(), StderrTail: out.Tail(), FailedAt: at}
}

// rollbackEvent does the same for the way back. One that is only set for boot has not brought the host back: it
// counts as failed, and says why.
func rollbackEvent(out activation.Outcome, at time.Time) host.Event {
	switch o := out.(type) {
	case activation.Completed:
		return host.RollbackCompleted{RevertedToClosure: o.Closure, ExitCode: o.ExitCode(), CompletedAt: at}
	case activation.Deferred:
		return host.RollbackFailed{ExitCode: o.ExitCode(), StderrTail: "set for boot only, because of " + o.Component, FailedAt: at}
	case activation.SignatureMismatch, activation.RealiseFailed, activation.SwitchFailed, activation.VerifyMismatch, activation.TimedOut:
	}
	return host.RollbackFailed{ExitCode: out.ExitCode(), StderrTail: out.Tail(), FailedAt: at}
}
