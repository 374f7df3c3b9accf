package journal_test

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"nixfleet/journal"
	"nixfleet/journal/journaltest"
)

func withSchema(d *journaltest.Disk, schema uint32) journal.Options {
	o := small(d)
	o.Schema = schema
	return o
}

func TestAnOlderSchemaIsReadAndOnlyACommitRaisesIt(t *testing.T) {
	d, w := written(t, 20)
	j, opened, err := journal.Open(withSchema(d, 2))
	must(t, err)
	got, err := read(j, opened)
	must(t, err)
	if !got.equal(w.content()) || opened.NewerSchema {
		t.Fatalf("got %q, opened %+v", got, opened)
	}
	must(t, j.Close())
	if _, err := reopen(d.Kill(), []content{w.content()}); err != nil {
		t.Fatalf("the previous release after a look by the next one: %v", err)
	}
	j, _, err = journal.Open(withSchema(d, 2))
	must(t, err)
	_, err = j.Append([]byte(`{"v2":true}`))
	must(t, err)
	must(t, j.Close())
	schemas := map[uint32]int{}
	_, err = journal.ReadDir(dir, d, func(f journal.Frame) error {
		schemas[f.Schema]++
		return nil
	})
	must(t, err)
	if schemas[1] == 0 || schemas[2] == 0 {
		t.Errorf("frames by schema: %v", schemas)
	}
	_, opened, err = journal.Open(withSchema(d, 1))
	must(t, err)
	if !opened.NewerSchema {
		t.Errorf("the previous release opened %+v", opened)
	}
}

// raiseVersion makes the header of a segment that of a later format.
func raiseVersion(t *testing.T, d *journaltest.Disk, name string) {
	content, err := d.ReadFile(name)
	must(t, err)
	binary.LittleEndian.PutUint32(content[8:], 2)
	binary.LittleEndian.PutUint32(content[24:], crc32.Checksum(content[:24], crc32.MakeTable(crc32.Castagnoli)))
	d.WriteFile(name, content)
}

func TestALogOfANewerReleaseIsSetAsideWholeAtEveryCrash(t *testing.T) {
	for _, kind := range []string{"schema", "version"} {
		d, _ := written(t, 40)
		if kind == "schema" {
			j, _, err := journal.Open(withSchema(d, 2))
			must(t, err)
			must(t, j.Rotate([]byte(`{"v2":true}`)))
			must(t, j.Close())
		} else {
			names := segmentFiles(d)
			raiseVersion(t, d, names[len(names)-1])
		}
		all := map[string]string{}
		for _, name := range segmentFiles(d) {
			content, err := d.ReadFile(name)
			must(t, err)
			all[strings.TrimPrefix(name, dir+"/")] = string(content)
		}
		check := func(d *journaltest.Disk, mayBeDone bool) {
			t.Helper()
			j, opened, err := journal.Open(small(d))
			must(t, err)
			if !opened.Empty || opened.Snapshot != nil || !opened.NewerSchema && !mayBeDone {
				t.Fatalf("opened %+v", opened)
			}
			if opened.NewerSchema && (len(opened.Damage) == 0 || !strings.HasPrefix(opened.Damage[0].SetAside, "newer-")) {
				t.Fatalf("damage %+v", opened.Damage)
			}
			_, err = j.Append([]byte("{}"))
			must(t, err)
			must(t, j.Close())
			found := 0
			for _, name := range segmentFiles(d) {
				if content, err := d.ReadFile(name); strings.Contains(name, "newer-") {
					must(t, err)
					if all[name[strings.LastIndex(name, "/")+1:]] != string(content) {
						t.Fatalf("%s changed", name)
					}
					found++
				}
			}
			if found != len(all) {
				t.Fatalf("%d of %d segments set aside: %q", found, len(all), d.Names())
			}
		}
		check(d.Kill(), false)
		run := d.Kill()
		done := false
		run.Watch(func(p journaltest.Point) {
			for _, l := range []journaltest.Loss{journaltest.Kept, journaltest.Dropped, {Names: 1}, {Names: 2}} {
				check(p.Crash(l), done || p.Op.Kind == journaltest.SyncDir || p.Op.Kind == journaltest.Rename)
			}
			done = done || p.Op.Kind == journaltest.SyncDir
		})
		_, opened, err := journal.Open(small(run))
		must(t, err)
		if !slices.Equal(opened.SetAside, []string{"newer-1"}) {
			t.Errorf("set aside: %q", opened.SetAside)
		}
	}
}
