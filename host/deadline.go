package host

import "time"

// NextDeadline says when a record may have something to conclude without any further event: the end of its soak or of
// the window in which a failure streak must end, whichever comes first. ok is false where nothing is timed. It is a
// hint to look again: a deadline that is past already means only that the caller should go on looking at its usual
// pace. Implements docs/design/02-host-state-machine.md, section 2.7.
func NextDeadline(r *Record, p *Policy) (at time.Time, ok bool) {
	if r.State != Soaking || r.SupersededBy != "" {
		return time.Time{}, false
	}
	at = r.SoakDueAt
	if !r.ProbeFailureFirstAt.IsZero() {
		if fails := addClamped(r.ProbeFailureFirstAt, p.Sustained()); at.IsZero() || fails.Before(at) {
			at = fails
		}
	}
	return at, !at.IsZero()
}

// maxTime is the last instant that RFC 3339 can write. A soak that would end later ends then, because a record that
// cannot be written cannot be kept.
var maxTime = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)

// addClamped returns t + d, at most maxTime.
func addClamped(t time.Time, d time.Duration) time.Time {
	if sum := t.Add(d); sum.Before(maxTime) {
		return sum
	}
	return maxTime
}
