package host

func (r *Record) quarantine(in *Stamped, out *Effects) {
	if in.Origin == Remote {
		out.channel, out.closure = r.Channel, r.TargetClosure
		out.add(quarantine)
	}
}

// rollBackIfOwed fires the rollback to what ran at dispatch, and to nothing else.
func (r *Record) rollBackIfOwed(in *Stamped, out *Effects) {
	if in.Origin == Local && Owed(r) {
		out.closure = r.CurrentClosureAtDispatch
		out.add(fireRollback)
	}
}

func (r *Record) rollbackCompleted(in *Stamped, e *RollbackCompleted, out *Effects) error {
	if err := r.must(in, Failed); err != nil {
		return err
	}
	if err := checkRevertedTo(r, e.RevertedToClosure); err != nil {
		return err
	}
	r.RevertedAt = e.CompletedAt
	r.RevertedTo = e.RevertedToClosure
	r.CurrentClosure = e.RevertedToClosure
	r.emit(in, out, true)
	r.move(out, Reverted, e.CompletedAt)
	r.quarantine(in, out)
	return nil
}

// checkRevertedTo holds a rollback to what ran at dispatch; where that is unknown or was the target already, to
// anything but the target.
func checkRevertedTo(r *Record, closure string) error {
	if prior := r.CurrentClosureAtDispatch; prior != "" && prior != r.TargetClosure {
		if closure != prior {
			return invariant("reverted to %q, not to %q which ran at dispatch", closure, prior)
		}
		return nil
	}
	if closure == r.TargetClosure {
		return invariant("reverted to the target %q itself", closure)
	}
	return nil
}

func (r *Record) rollbackFailed(in *Stamped, out *Effects) error {
	if err := r.must(in, Failed); err != nil {
		return err
	}
	before := r.RollbackAttempts
	r.RollbackAttempts = max(before, before+1) // stays at the highest number there is
	r.emit(in, out, true)
	if before+1 == MaxRollbackAttempts {
		r.quarantine(in, out)
	}
	r.rollBackIfOwed(in, out)
	return nil
}
