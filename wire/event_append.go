package wire

import "nixfleet/host"

// AppendEvent appends the wire event: its kind, its body in the order of docs/design/02-host-state-machine.md, its seq.
func AppendEvent(dst []byte, seq uint64, e host.Event) []byte {
	return appendAs(dst, kinds[kindOf(e)].wire, seq, e)
}

// AppendNamedEvent appends the event under the name that says its origin, as recordings spell it.
func AppendNamedEvent(dst []byte, origin host.Origin, seq uint64, e host.Event) []byte {
	row := &kinds[kindOf(e)]
	if origin == host.Remote {
		return appendAs(dst, row.remote, seq, e)
	}
	return appendAs(dst, row.local, seq, e)
}

func appendAs(dst []byte, kind string, seq uint64, e host.Event) []byte {
	o := open(dst)
	o.str("kind", kind)
	appendBody(&o, e)
	o.uint("seq", seq)
	return o.close()
}

func appendBody(o *object, e host.Event) {
	switch e := e.(type) {
	case host.Activate:
		appendActivate(o, &e)
	case host.ActivationStarted:
		o.time("startedAt", e.StartedAt)
		o.str("switchMethod", e.SwitchMethod)
	case host.ActivationCompleted:
		o.str("observedCurrentClosure", e.ObservedCurrentClosure)
		o.int("exitCode", int64(e.ExitCode))
		o.time("completedAt", e.CompletedAt)
	case host.ActivationDeferred:
		o.str("component", e.Component)
		o.time("deferredAt", e.DeferredAt)
	case host.ActivationFailed:
		o.int("exitCode", int64(e.ExitCode))
		o.str("stderrTail", e.StderrTail)
		o.time("failedAt", e.FailedAt)
	case host.ProbeTopologyDeclared:
		appendTopology(o, &e)
	case host.ProbeObservedFirst:
		o.str("probeName", e.ProbeName)
		o.str("mode", e.Mode.String())
		o.time("observedAt", e.ObservedAt)
	case host.ProbeResult:
		appendProbeResult(o, &e)
	case host.ProbeFailureFirst:
		o.str("probeName", e.ProbeName)
		o.str("mode", e.Mode.String())
		o.time("firstFailedAt", e.FirstFailedAt)
	case host.SustainedFailureCrossed:
		o.time("failedAt", e.FailedAt)
		o.uint("sustainedDurationSecs", e.SustainedDurationSecs)
		o.strs("failingProbes", e.FailingProbes)
		o.str("policyApplied", e.PolicyApplied.String())
	case host.RollbackCompleted:
		o.str("revertedToClosure", e.RevertedToClosure)
		o.int("exitCode", int64(e.ExitCode))
		o.time("completedAt", e.CompletedAt)
	case host.RollbackFailed:
		o.int("exitCode", int64(e.ExitCode))
		o.str("stderrTail", e.StderrTail)
		o.time("failedAt", e.FailedAt)
		o.uint("attempt", uint64(e.Attempt))
	case host.ConvergedReached:
		o.time("convergedAt", e.ConvergedAt)
		o.str("currentClosure", e.CurrentClosure)
	}
}

func appendActivate(o *object, e *host.Activate) {
	o.str("currentClosureAtDispatch", e.CurrentClosureAtDispatch)
	o.time("receivedAt", e.ReceivedAt)
	o.optStr("policyHash", e.PolicyHash)
	if e.HasWave {
		o.uint("wave", uint64(e.Wave))
	}
	o.optTime("dispatchedAt", e.DispatchedAt)
	o.optStr("targetClosure", e.TargetClosure)
	o.optTime("soakDueAt", e.SoakDueAt)
}

func appendTopology(o *object, e *host.ProbeTopologyDeclared) {
	o.key("probes")
	o.buf = append(o.buf, '[')
	for i := range e.Probes {
		p := open(comma(o.buf, i))
		p.str("probeName", e.Probes[i].ProbeName)
		p.str("kind", e.Probes[i].Kind)
		p.str("mode", e.Probes[i].Mode.String())
		o.buf = p.close()
	}
	o.buf = append(o.buf, ']')
	o.time("declaredAt", e.DeclaredAt)
}

func appendProbeResult(o *object, e *host.ProbeResult) {
	o.str("probeName", e.ProbeName)
	o.str("mode", e.Mode.String())
	o.str("status", e.Status.String())
	o.time("observedAt", e.ObservedAt)
	o.optStr("failureReason", e.FailureReason)
	if len(e.SubResults) == 0 {
		return
	}
	o.key("subResults")
	o.buf = append(o.buf, '[')
	for i := range e.SubResults {
		s := &e.SubResults[i]
		p := open(comma(o.buf, i))
		p.str("controlId", s.ControlID)
		p.str("status", s.Status.String())
		p.str("framework", s.Framework)
		p.optStr("article", s.Article)
		p.str("effectiveMode", s.EffectiveMode.String())
		p.optStr("overrideReason", s.OverrideReason)
		o.buf = p.close()
	}
	o.buf = append(o.buf, ']')
}
