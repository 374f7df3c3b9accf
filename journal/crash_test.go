package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"

	"nixfleet/journal"
	"nixfleet/journal/journaltest"
)

// long widens the crash and fault tests; NIXFLEET_JOURNAL_LONG=10 makes ten times as many commits.
func long(t *testing.T) int {
	s := os.Getenv("NIXFLEET_JOURNAL_LONG")
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("NIXFLEET_JOURNAL_LONG=%s: want a number from 1", s)
	}
	return n
}

// losses are the ways to lose what was not synced that are tried at a point.
func losses(p journaltest.Point, r *rand.Rand) map[string]func() *journaltest.Disk {
	crash := func(l journaltest.Loss) func() *journaltest.Disk {
		return func() *journaltest.Disk { return p.Crash(l) }
	}
	if p.When == journaltest.Inside {
		m := map[string]func() *journaltest.Disk{"kept": crash(journaltest.Kept)}
		if p.Op.Written%8 == 0 {
			m["killed"] = p.Kill
			m["random"] = crash(journaltest.Loss{Random: r})
		}
		return m
	}
	return map[string]func() *journaltest.Disk{
		"kept":       crash(journaltest.Kept),
		"dropped":    crash(journaltest.Dropped),
		"names lost": crash(journaltest.Loss{Names: 0, Data: true}),
		"name kept":  crash(journaltest.Loss{Names: 1, Data: false}),
		"data lost":  crash(journaltest.Loss{Names: -1, Data: false}),
		"holes":      crash(journaltest.Loss{Names: -1, Data: true, Holes: true}),
		"killed":     p.Kill,
		"random 1":   crash(journaltest.Loss{Random: r}),
		"random 2":   crash(journaltest.Loss{Random: r}),
	}
}

// tearsOutOfOrder tells losses after which a frame may have its end and not
// its middle: that cannot be told from damage and is reported as such.
func tearsOutOfOrder(loss string) bool {
	return loss == "holes" || loss == "random" || loss == "random 1" || loss == "random 2"
}

type explorer struct {
	t        *testing.T
	w        workload
	r        *rand.Rand
	points   int // moments
	reopened int // crashed disks opened
	nested   int // crashes inside the recovery from a crash
}

func (e *explorer) visit(p journaltest.Point) {
	e.points++
	for loss, disk := range losses(p, e.r) {
		e.reopened++
		d := disk()
		where := fmt.Sprintf("%s %s of operation %d on %s (%d bytes in), %s", p.When, p.Op.Kind, p.Op.N, p.Op.Name, p.Op.Written, loss)
		if p.When != journaltest.Inside && p.Op.N%15 == 0 {
			e.crashRecovery(d, where)
		}
		got, err := reopen(d, e.w.allowed)
		if err != nil {
			e.t.Fatalf("crash %s: %v", where, err)
		}
		if len(got.Damage) > 0 && !tearsOutOfOrder(loss) {
			e.t.Fatalf("crash %s: damage %v", where, got.Damage)
		}
	}
}

// crashRecovery crashes the reopening after a crash at every operation.
func (e *explorer) crashRecovery(d *journaltest.Disk, where string) {
	d = d.Kill()
	allowed := append([]content{}, e.w.allowed...)
	d.Watch(func(p journaltest.Point) {
		if p.When == journaltest.Inside {
			return
		}
		for _, loss := range []journaltest.Loss{journaltest.Kept, journaltest.Dropped} {
			e.nested++
			if _, err := reopen(p.Crash(loss), allowed); err != nil {
				e.t.Fatalf("crash %s, then %s %s on %s: %v", where, p.When, p.Op.Kind, p.Op.Name, err)
			}
		}
	})
	defer d.Watch(nil)
	j, opened, err := journal.Open(small(d))
	must(e.t, err)
	got, err := read(j, opened)
	must(e.t, err)
	allowed = []content{got, got.with("{}")}
	_, err = j.Append([]byte("{}"))
	must(e.t, err)
}

func TestACrashAtAnyOperationOrByteLosesNoAcknowledgedCommit(t *testing.T) {
	t.Parallel()
	commits := 200 * long(t)
	e := &explorer{t: t, r: rand.New(rand.NewPCG(1, 2))}
	d := journaltest.New()
	d.Watch(e.visit)
	must(t, e.w.open(small(d)))
	must(t, e.w.run(commits))
	must(t, e.w.j.Close())
	e.w.covers(t)
	t.Logf("%d commits, %d rotations, %d rewrites, %d removals, %d operations: %d crash points, %d crashed disks reopened, %d more crashes during recovery",
		commits, e.w.rotated, e.w.rewrote, e.w.removed, d.Ops(), e.points, e.reopened, e.nested)
	if e.points < 15_000 {
		t.Errorf("only %d crash points: the workload shrank", e.points)
	}
}

var errDisk = errors.New("input/output error")

// faults are the ways an operation is failed.
func faults(op journaltest.Op) map[string]journaltest.Fault {
	if op.Kind == journaltest.Read || op.Kind == journaltest.List || op.Kind == journaltest.Open {
		return nil // a failed read is damage: see its own test
	}
	m := map[string]journaltest.Fault{
		"error": {Err: errDisk},
		"full":  {Err: syscall.ENOSPC},
	}
	if op.Kind == journaltest.Write {
		m["short"] = journaltest.Fault{Err: syscall.ENOSPC, Short: op.Bytes / 2}
		m["late"] = journaltest.Fault{Err: errDisk, Short: op.Bytes}
	} else if op.Kind != journaltest.Lock { // whoever failed to lock does not hold it
		m["late"] = journaltest.Fault{Err: errDisk, Done: true}
	}
	return m
}

// failAt runs the workload with one fault (and, if pair is not 0, a second one
// that many operations later), with a crash at every later operation.
func failAt(t *testing.T, n, pair int, name string, commits int, r *rand.Rand) (crashes int, hit bool) {
	var w workload
	d := journaltest.New()
	where := ""
	d.Inject(func(op journaltest.Op) journaltest.Fault {
		if op.N != n && (pair == 0 || op.N != n+pair) {
			return journaltest.Fault{}
		}
		fault, ok := faults(op)[name]
		if ok {
			hit = true
			where += fmt.Sprintf(" %s of operation %d on %s (%s)", op.Kind, op.N, op.Name, name)
		}
		return fault
	})
	d.Watch(func(p journaltest.Point) {
		if p.When == journaltest.Inside || p.Op.N < n || p.Op.N > n+12+pair {
			return
		}
		random := journaltest.Loss{Random: r}
		for _, after := range []*journaltest.Disk{p.Crash(journaltest.Kept), p.Crash(journaltest.Dropped), p.Crash(random), p.Kill()} {
			crashes++
			if _, err := reopen(after, w.allowed); err != nil {
				t.Fatalf("failed%s, crash %s %s of operation %d on %s: %v", where, p.When, p.Op.Kind, p.Op.N, p.Op.Name, err)
			}
		}
	})
	err := w.open(small(d))
	for range 2 {
		if err != nil && hit {
			err = w.open(small(d))
		}
	}
	must(t, err)
	if err := w.run(commits); err != nil {
		t.Fatalf("failed%s: %v", where, err)
	}
	must(t, w.j.Close())
	if _, err := reopen(d.Crash(journaltest.Dropped), w.allowed); err != nil {
		t.Fatalf("failed%s, crash at the end: %v", where, err)
	}
	return crashes, hit
}

func TestAFailureOfAnyOperationLosesNothingAndTheSamePayloadCanBeRetried(t *testing.T) {
	t.Parallel()
	commits := 30 * long(t)
	d := journaltest.New()
	var w workload
	must(t, w.open(small(d)))
	must(t, w.run(commits))
	w.covers(t)
	r := rand.New(rand.NewPCG(3, 4))
	runs, crashes := 0, 0
	for n := 1; n <= d.Ops(); n++ {
		for _, name := range []string{"error", "full", "short", "late"} {
			for _, pair := range []int{0, 2} {
				c, hit := failAt(t, n, pair, name, commits, r)
				if hit {
					runs++
					crashes += c
				}
			}
		}
	}
	t.Logf("%d commits, %d operations: %d runs with one or two failures, %d crashes behind them", commits, d.Ops(), runs, crashes)
}
