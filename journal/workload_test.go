package journal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nixfleet/journal"
	"nixfleet/journal/journaltest"
)

const dir = "/state/journal"

// small makes every few commits a rotation, so that a short workload meets everything.
func small(d *journaltest.Disk) journal.Options {
	return journal.Options{Dir: dir, FS: d, SegmentBytes: 250, ReserveBytes: 64, Schema: 1}
}

// content is what a journal must give back.
type content struct {
	commits  []string
	snapshot string
}

func (c content) equal(o content) bool {
	return c.snapshot == o.snapshot && slices.Equal(c.commits, o.commits)
}

func (c content) with(commit string) content {
	return content{append(slices.Clip(c.commits), commit), c.snapshot}
}

// read gives all commits, and the snapshot that Open gave.
func read(j *journal.Journal, opened journal.Opened) (content, error) {
	c := content{snapshot: string(opened.Snapshot)}
	last := journal.Pos{}
	err := j.Scan(journal.Pos{}, func(f journal.Frame) error {
		if !last.Less(f.Pos) {
			return fmt.Errorf("frame at %v after the one at %v", f.Pos, last)
		}
		last = f.Pos
		if f.Kind == journal.Commit {
			c.commits = append(c.commits, string(f.Payload))
		}
		return nil
	})
	return c, err
}

// workload runs commits, rotations, removals and rewrites on a journal and
// knows at every moment what a reopened one may hold.
type workload struct {
	j        *journal.Journal
	segments []modelSegment
	snapshot string
	allowed  []content // before the operation that runs, and after it
	rotated  int
	rewrote  int
	removed  int
}

type modelSegment struct {
	id      uint64
	commits []string
}

func (w *workload) content() content {
	c := content{snapshot: w.snapshot}
	for _, s := range w.segments {
		c.commits = append(c.commits, s.commits...)
	}
	return c
}

// attempt runs op until it succeeds; change is what it does to the model.
// Between attempts and at every crash the journal may hold either content.
func (w *workload) attempt(op func() error, change func()) error {
	before := w.content()
	saved := slices.Clone(w.segments)
	snapshot := w.snapshot
	change()
	after := w.content()
	w.allowed = []content{before, after}
	const attempts = 4
	var errs []error
	for range attempts {
		err := op()
		if err == nil {
			w.allowed = []content{after}
			return nil
		}
		errs = append(errs, err)
	}
	w.segments, w.snapshot = saved, snapshot
	return errors.Join(errs...)
}

func (w *workload) last() *modelSegment { return &w.segments[len(w.segments)-1] }

func (w *workload) commit(payload string) error {
	return w.attempt(func() error {
		_, err := w.j.Append([]byte(payload))
		return err
	}, func() { w.last().commits = append(slices.Clip(w.last().commits), payload) })
}

func (w *workload) rotate(snapshot string) error {
	w.rotated++
	err := w.attempt(func() error { return w.j.Rotate([]byte(snapshot)) }, func() {
		w.snapshot = snapshot
		w.segments = append(slices.Clip(w.segments), modelSegment{})
	})
	if err != nil {
		return err
	}
	// A retried rotation may have started more than one: the others hold a snapshot and nothing else.
	var segments []modelSegment
	for i, s := range w.j.Segments() {
		m := modelSegment{id: s.ID}
		if k := slices.IndexFunc(w.segments[:len(w.segments)-1], func(o modelSegment) bool { return o.id == s.ID }); k >= 0 {
			m.commits = w.segments[k].commits
		} else if i == 0 {
			m.commits = w.segments[0].commits
		}
		segments = append(segments, m)
	}
	w.segments = segments
	return nil
}

func (w *workload) remove(i int) error {
	w.removed++
	id := w.segments[i].id
	return w.attempt(func() error { return w.j.Remove(id) }, func() { w.segments = slices.Delete(slices.Clone(w.segments), i, i+1) })
}

// rewrite drops every third commit of a segment and shortens every second of the rest.
func (w *workload) rewrite(i int) error {
	w.rewrote++
	var kept []string
	pass := func(n int, payload string) (string, bool) {
		if n%3 == 2 {
			return "", false
		}
		if n%2 == 1 {
			return strings.TrimRight(payload, "x"), true
		}
		return payload, true
	}
	for n, payload := range w.segments[i].commits {
		if p, keep := pass(n, payload); keep {
			kept = append(kept, p)
		}
	}
	old := w.segments[i].commits
	return w.attempt(func() error {
		n := -1
		return w.j.Rewrite(w.segments[i].id, func(payload []byte) ([]byte, bool, error) {
			n++
			if slices.Contains(kept, string(payload)) && !slices.Contains(old, string(payload)) {
				return payload, true, nil // an attempt before did it and failed later
			}
			p, keep := pass(slices.Index(old, string(payload)), string(payload))
			return []byte(p), keep, nil
		})
	}, func() {
		w.segments = slices.Clone(w.segments)
		w.segments[i].commits = kept
	})
}

// open starts the workload on a disk that is empty.
func (w *workload) open(opt journal.Options) error {
	w.allowed = []content{{}}
	j, opened, err := journal.Open(opt)
	if err != nil {
		return err
	}
	if !opened.Empty || len(opened.Damage) > 0 {
		return fmt.Errorf("an empty directory opened as %+v", opened)
	}
	w.j = j
	w.segments = []modelSegment{{id: 1}}
	return nil
}

// run makes commits numbered from 0 to n, with all that goes with them.
func (w *workload) run(n int) error {
	for i := range n {
		payload := fmt.Sprintf(`{"commit":%d,"pad":"%s"}`, i, strings.Repeat("x", i*7%23))
		if err := w.commit(payload); err != nil {
			return err
		}
		if !w.j.NeedsRotation() {
			continue
		}
		if err := w.rotate(fmt.Sprintf(`{"snapshot":%d}`, i)); err != nil {
			return err
		}
		if len(w.segments) > 3 && w.rotated%2 == 0 {
			if err := w.rewrite(1); err != nil {
				return err
			}
		}
		if len(w.segments) > 4 {
			if err := w.remove(w.rotated % 2); err != nil {
				return err
			}
		}
	}
	return nil
}

// reopened is what a crashed disk gave back.
type reopened struct {
	journal.Opened
	content
}

// reopen opens what a crash left, wants one of the allowed contents, commits
// once more and wants that to be there after another reopening.
func reopen(d *journaltest.Disk, allowed []content) (reopened, error) {
	j, opened, err := journal.Open(small(d))
	if err != nil {
		return reopened{}, err
	}
	got, err := read(j, opened)
	if err != nil {
		return reopened{}, err
	}
	if !slices.ContainsFunc(allowed, got.equal) {
		return reopened{}, fmt.Errorf("reopened with\n%q\nallowed are\n%q\nopened %+v", got, allowed, opened)
	}
	const probe = `{"probe":1}`
	if _, err := j.Append([]byte(probe)); err != nil {
		return reopened{}, err
	}
	if err := j.Close(); err != nil {
		return reopened{}, err
	}
	again := d.Crash(journaltest.Dropped)
	j2, opened2, err := journal.Open(small(again))
	if err != nil {
		return reopened{}, err
	}
	got2, err := read(j2, opened2)
	if err != nil {
		return reopened{}, err
	}
	if want := got.with(probe); !got2.equal(want) {
		return reopened{}, fmt.Errorf("after one more commit there is\n%q\nwant\n%q", got2, want)
	}
	return reopened{opened, got}, j2.Close()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// covers wants that a workload met everything a journal does.
func (w *workload) covers(t *testing.T) {
	t.Helper()
	if w.rotated == 0 || w.rewrote == 0 || w.removed == 0 {
		t.Errorf("%d rotations, %d rewrites, %d removals: want some of each", w.rotated, w.rewrote, w.removed)
	}
}
