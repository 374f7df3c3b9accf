package wire

import (
	"slices"

	"nixfleet/host"
	"nixfleet/strictjson"
)

func mode(o *strictjson.Object, key string) host.Mode {
	return host.Mode(max(0, slices.Index(host.ModeNames[:], o.Enum(key, host.ModeNames[:]...))))
}

func status(o *strictjson.Object, key string) host.Status {
	return host.Status(max(0, slices.Index(host.StatusNames[:], o.Enum(key, host.StatusNames[:]...))))
}

// onFailure reads a failure policy; the empty name of NoPolicy is never on the wire.
func onFailure(o *strictjson.Object, key string) host.OnFailure {
	return host.OnFailure(max(0, slices.Index(host.OnFailureNames[:], o.Enum(key, host.OnFailureNames[1:]...))))
}

func decodeActivate(o *strictjson.Object) host.Event {
	return host.Activate{
		CurrentClosureAtDispatch: text(o, "currentClosureAtDispatch", MaxClosure),
		ReceivedAt:               o.Time("receivedAt"),
		PolicyHash:               optText(o, "policyHash", MaxHash),
		Wave:                     o.OptUint32("wave"),
		HasWave:                  o.Has("wave"),
		DispatchedAt:             o.OptTime("dispatchedAt"),
		TargetClosure:            optText(o, "targetClosure", MaxClosure),
		SoakDueAt:                o.OptTime("soakDueAt"),
	}
}

func decodeActivationStarted(o *strictjson.Object) host.Event {
	return host.ActivationStarted{StartedAt: o.Time("startedAt"), SwitchMethod: text(o, "switchMethod", MaxText)}
}

func decodeActivationCompleted(o *strictjson.Object) host.Event {
	return host.ActivationCompleted{
		ObservedCurrentClosure: text(o, "observedCurrentClosure", MaxClosure),
		ExitCode:               o.Int32("exitCode"),
		CompletedAt:            o.Time("completedAt"),
	}
}

func decodeActivationDeferred(o *strictjson.Object) host.Event {
	return host.ActivationDeferred{Component: text(o, "component", MaxText), DeferredAt: o.Time("deferredAt")}
}

func decodeActivationFailed(o *strictjson.Object) host.Event {
	return host.ActivationFailed{
		ExitCode:   o.Int32("exitCode"),
		StderrTail: text(o, "stderrTail", MaxText),
		FailedAt:   o.Time("failedAt"),
	}
}

func decodeProbeTopologyDeclared(o *strictjson.Object) host.Event {
	list := o.Objects("probes")
	most(o, "probes", len(list), MaxProbes)
	e := host.ProbeTopologyDeclared{DeclaredAt: o.Time("declaredAt")}
	for _, p := range list {
		e.Probes = append(e.Probes, host.DeclaredProbe{
			ProbeName: named(p, "probeName", MaxProbeName),
			Kind:      text(p, "kind", MaxProbeName),
			Mode:      mode(p, "mode"),
		})
	}
	return e
}

func decodeProbeObservedFirst(o *strictjson.Object) host.Event {
	return host.ProbeObservedFirst{ProbeName: named(o, "probeName", MaxProbeName), Mode: mode(o, "mode"), ObservedAt: o.Time("observedAt")}
}

func decodeProbeResult(o *strictjson.Object) host.Event {
	e := host.ProbeResult{
		ProbeName:     named(o, "probeName", MaxProbeName),
		Mode:          mode(o, "mode"),
		Status:        status(o, "status"),
		ObservedAt:    o.Time("observedAt"),
		FailureReason: optText(o, "failureReason", MaxText),
	}
	list := o.OptObjects("subResults")
	most(o, "subResults", len(list), MaxSubResults)
	for _, s := range list {
		sub := host.SubResult{
			ControlID:      text(s, "controlId", MaxText),
			Status:         status(s, "status"),
			Framework:      text(s, "framework", MaxText),
			Article:        optText(s, "article", MaxText),
			OverrideReason: optText(s, "overrideReason", MaxText),
		}
		if s.Has("effectiveMode") { // enforce where it says nothing
			sub.EffectiveMode = mode(s, "effectiveMode")
		}
		e.SubResults = append(e.SubResults, sub)
	}
	return e
}

func decodeProbeFailureFirst(o *strictjson.Object) host.Event {
	return host.ProbeFailureFirst{ProbeName: named(o, "probeName", MaxProbeName), Mode: mode(o, "mode"), FirstFailedAt: o.Time("firstFailedAt")}
}

func decodeSustainedFailureCrossed(o *strictjson.Object) host.Event {
	return host.SustainedFailureCrossed{
		FailedAt:              o.Time("failedAt"),
		SustainedDurationSecs: o.Uint64("sustainedDurationSecs"),
		FailingProbes:         names(o, "failingProbes", MaxProbes, MaxProbeName),
		PolicyApplied:         onFailure(o, "policyApplied"),
	}
}

// names reads a required array of at most count strings of at most length bytes each.
func names(o *strictjson.Object, key string, count, length int) []string {
	list := o.Strings(key)
	most(o, key, len(list), count)
	for _, s := range list {
		if len(s) > length {
			o.Fail(key, "an entry of %d bytes, at most %d allowed", len(s), length)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

func decodeRollbackCompleted(o *strictjson.Object) host.Event {
	return host.RollbackCompleted{
		RevertedToClosure: text(o, "revertedToClosure", MaxClosure),
		ExitCode:          o.Int32("exitCode"),
		CompletedAt:       o.Time("completedAt"),
	}
}

func decodeRollbackFailed(o *strictjson.Object) host.Event {
	return host.RollbackFailed{
		ExitCode:   o.Int32("exitCode"),
		StderrTail: text(o, "stderrTail", MaxText),
		FailedAt:   o.Time("failedAt"),
		Attempt:    o.Uint32("attempt"),
	}
}

func decodeConvergedReached(o *strictjson.Object) host.Event {
	return host.ConvergedReached{ConvergedAt: o.Time("convergedAt"), CurrentClosure: text(o, "currentClosure", MaxClosure)}
}
