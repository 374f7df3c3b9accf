package api

import (
	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/operator"
)

// The JSON of the operator API is that of package operator; these put the core's answers into it.

func hostOf(h *core.HostSummary) operator.Host {
	return operator.Host{
		Hostname: h.Host, RolloutID: h.RolloutID, State: h.State, CurrentClosure: h.Current, LastSeen: h.LastSeen,
		AgentVersion: h.AgentVersion, Held: h.Held, Degraded: h.Degraded,
	}
}

func rolloutOf(r *core.RolloutSummary) operator.Rollout {
	out := operator.Rollout{
		RolloutID: r.Record.ID, Channel: r.Record.Channel, State: r.Record.State.String(), Wave: r.Record.Wave, Newest: r.Newest,
		OpenedAt: r.Record.OpenedAt, ChangedAt: r.Record.ChangedAt, HaltedBy: r.Record.HaltedBy, SupersededBy: r.Record.SupersededBy,
		Waves: make([]operator.Wave, len(r.Waves)),
	}
	for i, w := range r.Waves {
		out.Waves[i] = operator.Wave{
			Hosts: w.Hosts, Waiting: w.Waiting, Dispatched: w.Dispatched, Activating: w.Activating, Deferred: w.Deferred, Soaking: w.Soaking,
			Converged: w.Converged, Failed: w.Failed, Reverted: w.Reverted, Cleared: w.Cleared, Superseded: w.Superseded, Skipped: w.Skipped,
		}
	}
	return out
}

func rolloutsOf(list []core.RolloutSummary) []operator.Rollout {
	out := make([]operator.Rollout, len(list))
	for i := range list {
		out[i] = rolloutOf(&list[i])
	}
	return out
}

func overviewOf(o *core.Overview) operator.Overview {
	return operator.Overview{
		Hosts: o.Hosts, Held: o.Held, States: o.States, Quarantines: o.Quarantines, LogSeq: o.LogSeq, LogHead: o.LogHead, Rollouts: rolloutsOf(o.Rollouts),
	}
}

func whyOf(w *core.Why) operator.Why {
	out := operator.Why{Host: hostOf(&w.Host)}
	if !w.Waiting {
		return out
	}
	r := &w.Reason
	out.Reason = &operator.Reason{
		Gate: r.Gate.String(), Text: r.Text, Facts: make([]operator.Fact, len(r.Facts)), Owner: r.Owner.String(), Unblocks: r.Unblocks,
		Earliest: r.Earliest, StaleAt: r.StaleAt,
	}
	for i, f := range r.Facts {
		out.Reason.Facts[i] = operator.Fact{Name: f.Name, Value: f.Value}
	}
	return out
}

func quarantinesOf(list []ledger.QuarantineView) []operator.Quarantine {
	out := make([]operator.Quarantine, len(list))
	for i, q := range list {
		out[i] = operator.Quarantine{
			Channel: q.Channel, Closure: q.Closure, At: q.At, Hostname: q.Host, RolloutID: q.RolloutID, Cause: q.Cause, ClearedAt: q.ClearedAt, ClearedBy: q.ClearedBy,
		}
	}
	return out
}
