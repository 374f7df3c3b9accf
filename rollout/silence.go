package rollout

import "time"

// Silence is the one thing that changes by itself. Every listed host has one entry in a heap, at the next moment its
// silence could matter; when that comes, the entry is checked against the last heartbeat and put back. A heartbeat
// itself costs nothing here, and a host comes up about once in three intervals.

type timer struct {
	at   int64 // unix nanoseconds
	host int32
}

// timerHeap is a binary heap, the earliest first. Not that of container/heap: that boxes every entry.
type timerHeap []timer

func (t *timerHeap) push(x timer) {
	*t = append(*t, x)
	h := *t
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (t *timerHeap) pop() timer {
	h := *t
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].at < h[down].at {
			down++
		}
		if h[i].at <= h[down].at {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*t = h
	return first
}

// silentSince is when the host was last heard: never means since its channel's newest rollout opened, and before
// that since the start.
func (p *Planner) silentSince(hs *hostState) time.Time {
	if !hs.status.LastSeen.IsZero() {
		return hs.status.LastSeen
	}
	if hs.channel != nil && hs.channel.newest != nil && !hs.channel.newest.rec.OpenedAt.IsZero() {
		return hs.channel.newest.rec.OpenedAt
	}
	return p.startedAt
}

// refreshSilence sets quiet and offline as of the planner's now, and the timer for the next change.
func (p *Planner) refreshSilence(h int32) {
	hs := &p.hosts[h]
	since := p.silentSince(hs)
	quiet := hs.status.LastSeen.IsZero() || !p.now.Before(since.Add(p.settings.silence()))
	hs.offline = !p.now.Before(since.Add(p.settings.OfflineAfter))
	if quiet != hs.quiet {
		hs.quiet = quiet
		for _, at := range hs.slots {
			at.rollout.look(at.slot)
		}
	}
	next := since.Add(p.settings.OfflineAfter)
	if hs.offline {
		return // only a heartbeat changes it now
	}
	if !hs.quiet {
		next = since.Add(min(p.settings.silence(), p.settings.OfflineAfter))
	}
	if at := next.UnixNano(); hs.timerAt == 0 || at < hs.timerAt {
		hs.timerAt = at
		p.timers.push(timer{at, h})
	}
}

// advance moves the planner's time and lets silence grow.
func (p *Planner) advance(now time.Time) {
	p.now = now
	for len(p.timers) > 0 && p.timers[0].at <= now.UnixNano() {
		t := p.timers.pop()
		hs := &p.hosts[t.host]
		if hs.timerAt != t.at {
			continue // an earlier entry took its place
		}
		hs.timerAt = 0
		p.refreshHost(t.host)
	}
}
