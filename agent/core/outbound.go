package core

import (
	"fmt"
	"slices"

	"nixfleet/host"
)

// account gives a rollout whose accounting is about to change. Accounting is no fact of its own: losing it costs a
// resend, which the control plane recognises.
func (t *turn) account(id string) (*rollout, error) {
	r, err := t.st.edit(id)
	if err != nil {
		return nil, fmt.Errorf("%w: no rollout %q", ErrRefused, id)
	}
	r.dirty = true
	return r, nil
}

func (t *turn) acked(in *Acked) error {
	r, err := t.account(in.RolloutID)
	if err != nil {
		return err
	}
	seq := min(in.Seq, r.rec.LastEventSeq)
	r.acked, r.done = max(r.acked, seq), max(r.done, seq)
	return nil
}

func (t *turn) deadLetter(in *DeadLetter) error {
	r, err := t.account(in.RolloutID)
	if err != nil {
		return err
	}
	if in.Seq <= r.done {
		return nil
	}
	r.done = in.Seq
	r.dead = append(slices.Clone(r.dead), Refused{Seq: in.Seq, Status: in.Status, Reason: in.Reason})
	if len(r.dead) > MaxDeadLetters {
		r.dead = r.dead[len(r.dead)-MaxDeadLetters:]
	}
	t.count("dead_letters")
	t.effect(host.EmitLog{Level: levelError, Message: "the control plane refuses an event", Attrs: []string{
		"rollout", in.RolloutID, "seq", fmt.Sprint(in.Seq), "status", fmt.Sprint(in.Status), "reason", in.Reason,
	}})
	return nil
}

// replayFrom owes everything above From again, dead letters included.
func (t *turn) replayFrom(in *ReplayFrom) error {
	r, err := t.account(in.RolloutID)
	if err != nil {
		return err
	}
	if in.From >= r.done {
		return nil
	}
	r.acked, r.done = min(r.acked, in.From), in.From
	r.dead = slices.DeleteFunc(slices.Clone(r.dead), func(d Refused) bool { return d.Seq > in.From })
	t.st.cursor = Place{}
	return nil
}

// fork begins a new epoch: our numbers up to Stored name other events there, so we go on above them and offer the
// record instead.
func (t *turn) fork(in *Fork) error {
	if in.Stored > MaxSeq-1<<20 {
		return fmt.Errorf("%w: a fork at %d leaves no numbers", ErrRefused, in.Stored)
	}
	r, err := t.account(in.RolloutID)
	if err != nil {
		return err
	}
	r.base = max(r.base, in.Stored)
	r.acked, r.done, r.owed = in.Stored, max(r.done, in.Stored), true
	t.effect(host.EmitLog{Level: levelWarn, Message: "the control plane holds another history of this host", Attrs: []string{"rollout", in.RolloutID}})
	return t.record(Forked{Epoch: in.Epoch})
}

func (t *turn) wantRecord(in *WantRecord) error {
	if t.st.rollouts[in.RolloutID] == nil {
		if len(t.st.absent) < MaxAbsentRecords && !slices.Contains(t.st.absent, in.RolloutID) {
			t.st.absent = append(slices.Clone(t.st.absent), in.RolloutID)
		}
		return nil
	}
	r, err := t.account(in.RolloutID)
	if err == nil {
		r.owed = true
	}
	return err
}

func (t *turn) recordSent(in *RecordSent) error {
	t.st.absent = slices.DeleteFunc(slices.Clone(t.st.absent), func(id string) bool { return id == in.RolloutID })
	if t.st.rollouts[in.RolloutID] == nil {
		return nil
	}
	r, err := t.account(in.RolloutID)
	if err == nil {
		r.owed = false
	}
	return err
}
