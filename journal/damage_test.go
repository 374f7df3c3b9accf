package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nixfleet/journal"
	"nixfleet/journal/journaltest"
)

// written makes a journal of several segments and gives its disk and what each segment holds.
func written(t testing.TB, commits int) (*journaltest.Disk, *workload) {
	t.Helper()
	d := journaltest.New()
	w := &workload{}
	must(t, w.open(small(d)))
	must(t, w.run(commits))
	must(t, w.j.Close())
	return d, w
}

func segmentFiles(d *journaltest.Disk) []string {
	return slices.DeleteFunc(d.Names(), func(name string) bool { return !strings.HasSuffix(name, ".seg") })
}

// frames lists a journal's frames as text: place, kind and payload.
func frames(d *journaltest.Disk) ([]string, []journal.Pos, error) {
	var all []string
	var at []journal.Pos
	damage, err := journal.ReadDir(dir, d, func(f journal.Frame) error {
		all = append(all, fmt.Sprintf("%v %s %s", f.Pos, f.Kind, f.Payload))
		at = append(at, f.Pos)
		return nil
	})
	if err == nil && len(damage) > 0 {
		err = damage[0]
	}
	return all, at, err
}

func scanned(j *journal.Journal) (all []string, err error) {
	err = j.Scan(journal.Pos{}, func(f journal.Frame) error {
		all = append(all, fmt.Sprintf("%v %s %s", f.Pos, f.Kind, f.Payload))
		return nil
	})
	return all, err
}

// flip changes one byte and checks all that follows; want is all frames that must still be served.
func flip(t *testing.T, d *journaltest.Disk, name string, at int, mask byte, want []string) {
	t.Helper()
	good, err := d.ReadFile(name)
	must(t, err)
	bad := slices.Clone(good)
	bad[at] ^= mask
	broken := d.Kill()
	broken.WriteFile(name, bad)
	var read []string
	damage, err := journal.ReadDir(dir, broken, func(f journal.Frame) error {
		read = append(read, fmt.Sprintf("%v %s %s", f.Pos, f.Kind, f.Payload))
		return nil
	})
	must(t, err)
	if len(damage) != 1 || !slices.Equal(read, want) {
		t.Fatalf("byte %d of %s: ReadDir named %v and gave %q, want %q", at, name, damage, read, want)
	}
	j, opened, err := journal.Open(small(broken))
	must(t, err)
	got, err := scanned(j)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("byte %d of %s: got %q, want %q", at, name, got, want)
	}
	if len(opened.Damage) != 1 || opened.Torn != 0 || opened.NewerSchema {
		t.Fatalf("byte %d of %s: opened as %+v", at, name, opened)
	}
	dm := opened.Damage[0]
	if dm.File != filepath.Base(name) || dm.Offset > int64(at) || dm.Reason == "" || !errors.Is(dm, journal.ErrDamaged) {
		t.Fatalf("byte %d of %s: named as %+v", at, name, dm)
	}
	if !slices.Equal(opened.SetAside, []string{dm.SetAside}) {
		t.Fatalf("byte %d of %s: set aside are %q, damage says %q", at, name, opened.SetAside, dm.SetAside)
	}
	_, err = j.Append([]byte("{}"))
	must(t, err)
	must(t, j.Rotate([]byte("{}")))
	for _, s := range j.Segments() {
		if !s.Active {
			must(t, j.Remove(s.ID))
		}
	}
	must(t, j.Close())
	kept, err := broken.Crash(journaltest.Dropped).ReadFile(dir + "/" + dm.SetAside)
	must(t, err)
	if !slices.Equal(kept, bad) {
		t.Fatalf("byte %d of %s: %s is not the damaged file", at, name, dm.SetAside)
	}
}

func TestEveryFlippedByteIsNamedAndEverythingIntactIsServed(t *testing.T) {
	t.Parallel()
	d, _ := written(t, 40)
	all, at, err := frames(d)
	must(t, err)
	n := 0
	for _, name := range segmentFiles(d) {
		content, err := d.ReadFile(name)
		must(t, err)
		for i := range content {
			want := slices.Clone(all)
			for k := len(all) - 1; k >= 0; k-- {
				id := fmt.Sprintf("%s/%016x.seg", dir, at[k].Segment)
				end := len(content)
				if k+1 < len(at) && at[k+1].Segment == at[k].Segment {
					end = int(at[k+1].Offset)
				}
				if id == name && end > i { // it is the damaged one, or behind it in its segment
					want = slices.Delete(want, k, k+1)
				}
			}
			for _, mask := range []byte{0x01, 0x80, 0xff, content[i]} { // the last one makes a zero
				if mask != 0 {
					n++
					flip(t, d, name, i, mask, want)
				}
			}
		}
	}
	t.Logf("%d flips in %d segments of %d frames", n, len(segmentFiles(d)), len(all))
}

func TestATornLastFrameIsCutWithoutDamageAndATornOlderSegmentIsDamage(t *testing.T) {
	d, _ := written(t, 40)
	all, at, err := frames(d)
	must(t, err)
	names := segmentFiles(d)
	last, older := names[len(names)-1], names[0]
	content, err := d.ReadFile(last)
	must(t, err)
	from := int(at[len(at)-1].Offset)
	for cut := from + 1; cut < len(content); cut++ {
		torn := d.Kill()
		torn.WriteFile(last, content[:cut])
		j, opened, err := journal.Open(small(torn))
		must(t, err)
		got, err := scanned(j)
		must(t, err)
		if !slices.Equal(got, all[:len(all)-1]) || opened.Torn != int64(cut-from) || len(opened.Damage) != 0 {
			t.Fatalf("cut at %d: got %q, opened %+v", cut, got, opened)
		}
	}
	zeros := d.Kill()
	zeros.WriteFile(last, append(slices.Clone(content), make([]byte, 100)...))
	_, opened, err := journal.Open(small(zeros))
	must(t, err)
	if opened.Torn != 100 || len(opened.Damage) != 0 {
		t.Errorf("100 zero bytes at the end: opened %+v", opened)
	}
	content, err = d.ReadFile(older)
	must(t, err)
	d.WriteFile(older, content[:len(content)-1])
	_, opened, err = journal.Open(small(d))
	must(t, err)
	if opened.Torn != 0 || len(opened.Damage) != 1 {
		t.Errorf("a cut older segment: opened %+v", opened)
	}
}

func TestAnUnreadableSegmentIsDamageAndTheRestIsServed(t *testing.T) {
	d, _ := written(t, 40)
	all, _, err := frames(d)
	must(t, err)
	bad := segmentFiles(d)[1]
	d.Inject(func(op journaltest.Op) journaltest.Fault {
		if op.Kind == journaltest.Read && op.Name == bad {
			return journaltest.Fault{Err: errDisk}
		}
		return journaltest.Fault{}
	})
	j, opened, err := journal.Open(small(d))
	must(t, err)
	d.Inject(nil)
	got, err := scanned(j)
	must(t, err)
	if len(opened.Damage) != 1 || len(got) == 0 || len(got) >= len(all) || !strings.Contains(opened.Damage[0].Reason, errDisk.Error()) {
		t.Errorf("%d of %d frames, opened %+v", len(got), len(all), opened)
	}
}

func TestAScanNamesBytesThatWentBadSinceOpen(t *testing.T) {
	d, _ := written(t, 40)
	j, _, err := journal.Open(small(d))
	must(t, err)
	name := segmentFiles(d)[0]
	content, err := d.ReadFile(name)
	must(t, err)
	content[len(content)-1] ^= 1
	d.WriteFile(name, content)
	_, err = scanned(j)
	var dm journal.Damage
	if !errors.Is(err, journal.ErrDamaged) || !errors.As(err, &dm) || dm.File != filepath.Base(name) {
		t.Errorf("got %v", err)
	}
}

func TestAScanFromAPlaceGivesThatFrameAndWhatFollows(t *testing.T) {
	d, _ := written(t, 40)
	all, at, err := frames(d)
	must(t, err)
	j, _, err := journal.Open(small(d))
	must(t, err)
	from := func(p journal.Pos) (got []string) {
		must(t, j.Scan(p, func(f journal.Frame) error {
			got = append(got, fmt.Sprintf("%v %s %s", f.Pos, f.Kind, f.Payload))
			return nil
		}))
		return got
	}
	for k, p := range at {
		if got := from(p); !slices.Equal(got, all[k:]) {
			t.Fatalf("from %v: %q, want %q", p, got, all[k:])
		}
		p.Offset++ // no frame starts there: the next one does
		if got := from(p); !slices.Equal(got, all[k+1:]) {
			t.Fatalf("from %v: %q, want %q", p, got, all[k+1:])
		}
	}
}
