package journal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"nixfleet/journal"
	"nixfleet/journal/journaltest"
)

// genuine checks a frame against a segment's bytes with its own reading of the
// format: a payload that was given back must be checked and in its place.
func genuine(segment []byte, f journal.Frame) bool {
	at := int(f.Pos.Offset)
	if at < 28 || at+13+len(f.Payload) > len(segment) {
		return false
	}
	var place [21]byte
	binary.LittleEndian.PutUint64(place[0:], f.Pos.Segment)
	binary.LittleEndian.PutUint64(place[8:], uint64(at))
	copy(place[16:], segment[at:at+5])
	all := crc32.Checksum(append(place[:], f.Payload...), crc32.MakeTable(crc32.Castagnoli))
	return int(binary.LittleEndian.Uint32(segment[at:])) == len(f.Payload) &&
		segment[at+4] == byte(f.Kind) &&
		binary.LittleEndian.Uint32(segment[at+9:]) == all &&
		bytes.Equal(segment[at+13:at+13+len(f.Payload)], f.Payload)
}

// FuzzOpen gives arbitrary bytes as two segments: it must open, give back
// checked frames only, go on committing, and keep every byte it did not use.
func FuzzOpen(f *testing.F) {
	d, _ := written(f, 12)
	names := segmentFiles(d)
	one, err := d.ReadFile(names[0])
	must(f, err)
	two, err := d.ReadFile(names[1])
	must(f, err)
	f.Add(one, two)
	f.Add(one[:len(one)-3], two[:len(two)-3])
	f.Add([]byte{}, []byte("nfxjrnl\n"))
	f.Add(two, one)
	f.Add(one, append(slices.Clone(two), make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := journaltest.New()
		must(t, d.MakeDir(dir))
		files := map[uint64][]byte{1: a, 2: b}
		for id, content := range files {
			d.WriteFile(fmt.Sprintf("%s/%016x.seg", dir, id), content)
		}
		var seen []string
		collect := func(f journal.Frame) error {
			if !genuine(files[f.Pos.Segment], f) {
				t.Fatalf("%v gave %q, which is not there", f.Pos, f.Payload)
			}
			seen = append(seen, fmt.Sprintf("%v %s %s", f.Pos, f.Kind, f.Payload))
			return nil
		}
		_, err := journal.ReadDir(dir, d, collect)
		must(t, err)
		read := seen
		seen = nil
		j, opened, err := journal.Open(small(d))
		must(t, err)
		must(t, j.Scan(journal.Pos{}, collect))
		if !opened.NewerSchema && !slices.Equal(seen, read) || opened.NewerSchema && len(seen) > 0 {
			t.Fatalf("Scan gave %q, ReadDir %q, opened %+v", seen, read, opened)
		}
		_, err = j.Append([]byte("{}"))
		must(t, err)
		must(t, j.Close())
		again, _, err := frames(d)
		if len(opened.Damage) == 0 && (err != nil || len(again) != len(seen)+1) {
			t.Fatalf("after one more commit %q, %v", again, err)
		}
	})
}
