package host

import "slices"

// Equal says whether two records hold the same: times are compared as instants, and no probes is the same as an empty
// list of them, whereas "declared: none" is not the same as not declared.
func (r *Record) Equal(o *Record) bool {
	return r.RolloutID == o.RolloutID && r.Hostname == o.Hostname && r.Channel == o.Channel && r.Wave == o.Wave &&
		r.State == o.State && r.TargetClosure == o.TargetClosure &&
		r.CurrentClosureAtDispatch == o.CurrentClosureAtDispatch && r.CurrentClosure == o.CurrentClosure &&
		r.RevertedTo == o.RevertedTo && r.PolicyHash == o.PolicyHash && r.equalTimes(o) &&
		r.DeferredComponent == o.DeferredComponent && r.PolicyApplied == o.PolicyApplied &&
		r.RollbackAttempts == o.RollbackAttempts && r.SupersededBy == o.SupersededBy &&
		(r.Declared == nil) == (o.Declared == nil) && slices.Equal(r.Declared, o.Declared) &&
		slices.EqualFunc(r.Probes, o.Probes, (*Probe).Equal) && r.LastEventSeq == o.LastEventSeq
}

func (r *Record) equalTimes(o *Record) bool {
	return r.DispatchedAt.Equal(o.DispatchedAt) && r.DispatchAckedAt.Equal(o.DispatchAckedAt) &&
		r.ActivationStartedAt.Equal(o.ActivationStartedAt) && r.ActivationCompletedAt.Equal(o.ActivationCompletedAt) &&
		r.ActivationFailedAt.Equal(o.ActivationFailedAt) && r.ProbeObservedFirstAt.Equal(o.ProbeObservedFirstAt) &&
		r.ProbeFailureFirstAt.Equal(o.ProbeFailureFirstAt) && r.SoakDueAt.Equal(o.SoakDueAt) &&
		r.ConvergedAt.Equal(o.ConvergedAt) && r.FailedAt.Equal(o.FailedAt) && r.RevertedAt.Equal(o.RevertedAt)
}

// Equal says whether two probe entries hold the same.
func (p *Probe) Equal(q *Probe) bool {
	return p == q || p.Name == q.Name && p.Status == q.Status && p.Mode == q.Mode && p.FailureReason == q.FailureReason &&
		p.LastObservedAt.Equal(q.LastObservedAt) && p.LastPassAt.Equal(q.LastPassAt)
}
