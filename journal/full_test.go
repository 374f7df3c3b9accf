package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"nixfleet/journal"
	"nixfleet/journal/journaltest"
)

// fill opens a journal, commits once and fills the disk to its last byte.
func fill(t *testing.T, reserve int64) (*journal.Journal, *journaltest.Disk) {
	d := journaltest.New()
	o := small(d)
	o.ReserveBytes = reserve
	j, _, err := journal.Open(o)
	must(t, err)
	_, err = j.Append([]byte(`{"commit":0}`))
	must(t, err)
	d.SetCapacity(d.Used())
	return j, d
}

func TestOnAFullDiskTheReserveLetsAVerdictCommitAndComesBackWithSpace(t *testing.T) {
	j, d := fill(t, 200)
	if j.ReserveSpent() || j.Degraded() {
		t.Fatal("degraded before the disk was full")
	}
	_, err := j.Append([]byte(`{"verdict":1}`))
	must(t, err)
	if !j.ReserveSpent() || !j.Degraded() {
		t.Error("the reserve was given up and it does not say so")
	}
	d.SetCapacity(0)
	must(t, j.Rotate([]byte("{}")))
	if j.ReserveSpent() || j.Degraded() {
		t.Error("the reserve is not back after a rotation with space")
	}
	d.SetCapacity(d.Used())
	_, err = j.Append([]byte(`{"verdict":2}`))
	must(t, err)
	d.SetCapacity(0)
	for range 64 {
		_, err = j.Append([]byte("{}"))
		must(t, err)
	}
	if j.ReserveSpent() {
		t.Error("the reserve is not back after 64 commits with space")
	}
}

func TestOnAFullDiskWithoutReserveNothingIsCommittedAndTheRetrySucceedsOnceThereIsSpace(t *testing.T) {
	j, d := fill(t, -1)
	for range 3 {
		if _, err := j.Append([]byte(`{"commit":1}`)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := reopenRoomy(d.Crash(journaltest.Kept), []content{{commits: []string{`{"commit":0}`}}}); err != nil {
		t.Error(err)
	}
	d.SetCapacity(0)
	_, err := j.Append([]byte(`{"commit":1}`))
	must(t, err)
	want := content{commits: []string{`{"commit":0}`, `{"commit":1}`}}
	if _, err := reopen(d.Crash(journaltest.Dropped), []content{want}); err != nil {
		t.Error(err)
	}
}

func reopenRoomy(d *journaltest.Disk, allowed []content) (reopened, error) {
	d.SetCapacity(0)
	return reopen(d, allowed)
}

func TestAJournalOpensOnAFullDiskAndCommitsWhatStillFits(t *testing.T) {
	j, d := fill(t, -1)
	must(t, j.Close())
	d.SetCapacity(d.Used() + 40) // too little for the segment written anew, enough for a frame
	o := small(d)
	o.ReserveBytes = -1
	j, opened, err := journal.Open(o)
	must(t, err)
	if len(opened.Damage) != 0 {
		t.Errorf("opened %+v", opened)
	}
	_, err = j.Append([]byte(`{"commit":1}`))
	must(t, err)
}

func TestAtEveryCapacityACommitIsWholeOrRefused(t *testing.T) {
	for capacity := int64(1); capacity < 1200; capacity++ {
		d := journaltest.New()
		d.SetCapacity(capacity)
		j, _, err := journal.Open(small(d))
		must(t, err)
		var want content
		for i := range 12 {
			payload := fmt.Sprintf(`{"commit":%d}`, i)
			if _, err := j.Append([]byte(payload)); err == nil {
				want = want.with(payload)
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if j.NeedsRotation() {
				if err := j.Rotate([]byte(payload)); err == nil {
					want.snapshot = payload
				}
			}
		}
		if _, err := reopenRoomy(d.Crash(journaltest.Dropped), []content{want}); err != nil {
			t.Fatalf("capacity %d: %v", capacity, err)
		}
	}
}

func TestAfterAFailedFsyncTheSegmentIsWrittenAnewWithoutTheFailedFrame(t *testing.T) {
	d := journaltest.New()
	j, _, err := journal.Open(small(d))
	must(t, err)
	_, err = j.Append([]byte(`{"commit":0}`))
	must(t, err)
	d.Inject(func(op journaltest.Op) journaltest.Fault {
		if op.Kind == journaltest.Sync {
			return journaltest.Fault{Err: errDisk}
		}
		return journaltest.Fault{}
	})
	if _, err := j.Append([]byte(`{"lost":1}`)); !errors.Is(err, errDisk) {
		t.Fatalf("got %v", err)
	}
	if !j.Degraded() {
		t.Error("not degraded after a failed fsync")
	}
	d.Inject(nil)
	_, err = j.Append([]byte(`{"commit":1}`))
	must(t, err)
	if j.Degraded() {
		t.Error("degraded after the segment was written anew")
	}
	want := content{commits: []string{`{"commit":0}`, `{"commit":1}`}}
	if _, err := reopen(d.Crash(journaltest.Dropped), []content{want}); err != nil {
		t.Error(err)
	}
}

// failWrites makes every write of a frame put all its bytes down and fail.
func failWrites(op journaltest.Op) journaltest.Fault {
	if op.Kind == journaltest.Write {
		return journaltest.Fault{Err: errDisk, Short: op.Bytes}
	}
	return journaltest.Fault{}
}

func TestAFrameWhoseWriteFailedNeverComesBackBesideItsRetry(t *testing.T) {
	const first, retried, short = `{"commit":0}`, `{"commit":1,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`, `{}`
	for _, rotate := range []bool{false, true} {
		d := journaltest.New()
		j, _, err := journal.Open(small(d))
		must(t, err)
		_, err = j.Append([]byte(first))
		must(t, err)
		d.Inject(failWrites)
		if _, err := j.Append([]byte(retried)); !errors.Is(err, errDisk) {
			t.Fatalf("got %v", err)
		}
		d.Inject(nil)
		want := content{commits: []string{first}}
		if rotate { // the segment is an older one now: nothing may be behind its last commit
			must(t, j.Rotate([]byte(short)))
			want.snapshot = short
			_, err = j.Append([]byte(retried))
			want = want.with(retried)
		} else { // a shorter frame does not cover what the failed one left
			_, err = j.Append([]byte(short))
			want = want.with(short)
		}
		must(t, err)
		for seed := range uint64(64) {
			after := d.Crash(journaltest.Loss{Random: rand.New(rand.NewPCG(seed, 5))})
			got, err := reopen(after, []content{want})
			if err != nil || len(got.Damage) > 0 || got.Torn > 0 {
				t.Fatalf("rotated %v, seed %d: %v, opened %+v", rotate, seed, err, got.Opened)
			}
		}
	}
}

func TestACommitAfterAFailedRotationIsNeverBeforeItsSnapshot(t *testing.T) {
	for _, fails := range []journaltest.Kind{journaltest.Create, journaltest.Write, journaltest.Sync, journaltest.Rename, journaltest.SyncDir} {
		for _, done := range []bool{false, true} {
			d := journaltest.New()
			j, _, err := journal.Open(small(d))
			must(t, err)
			_, err = j.Append([]byte(`{"commit":0}`))
			must(t, err)
			d.Inject(func(op journaltest.Op) journaltest.Fault {
				if op.Kind == fails {
					return journaltest.Fault{Err: errDisk, Done: done}
				}
				return journaltest.Fault{}
			})
			if err := j.Rotate([]byte(`{"snapshot":0}`)); !errors.Is(err, errDisk) {
				t.Fatalf("%s fails: got %v", fails, err)
			}
			d.Inject(nil)
			_, err = j.Append([]byte(`{"commit":1}`))
			must(t, err)
			for _, after := range []*journaltest.Disk{d.Crash(journaltest.Kept), d.Crash(journaltest.Dropped), d.Kill()} {
				j, opened, err := journal.Open(small(after))
				must(t, err)
				var behind []string
				must(t, j.Scan(opened.SnapshotPos, func(f journal.Frame) error {
					if f.Kind == journal.Commit {
						behind = append(behind, string(f.Payload))
					}
					return nil
				}))
				if len(behind) == 0 || behind[len(behind)-1] != `{"commit":1}` {
					t.Errorf("%s fails (done %v): behind the snapshot at %v there is %q", fails, done, opened.SnapshotPos, behind)
				}
			}
		}
	}
}
