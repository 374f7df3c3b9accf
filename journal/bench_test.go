package journal_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"nixfleet/journal"
)

const eventBytes = 400

// BenchmarkAppend commits on the disk that holds TMPDIR, one fsync each.
func BenchmarkAppend(b *testing.B) {
	for _, events := range []int{1, 64} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			j, _, err := journal.Open(journal.Options{Dir: filepath.Join(b.TempDir(), "journal")})
			must(b, err)
			payload := bytes.Repeat([]byte("e"), events*eventBytes)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := j.Append(payload)
				must(b, err)
				if j.NeedsRotation() {
					must(b, j.Rotate(payload[:eventBytes]))
					must(b, j.Remove(j.Segments()[0].ID))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
			must(b, j.Close())
		})
	}
}

// BenchmarkReopen opens a log of 100,000 events and reads all of it.
func BenchmarkReopen(b *testing.B) {
	const backlog, batch = 100_000, 64
	b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
		o := journal.Options{Dir: filepath.Join(b.TempDir(), "journal")}
		j, _, err := journal.Open(o)
		must(b, err)
		payload := bytes.Repeat([]byte("e"), batch*eventBytes)
		for n := 0; n < backlog; n += batch {
			_, err := j.Append(payload)
			must(b, err)
			if j.NeedsRotation() {
				must(b, j.Rotate(payload[:eventBytes]))
			}
		}
		must(b, j.Close())
		b.ReportAllocs()
		for b.Loop() {
			j, opened, err := journal.Open(o)
			must(b, err)
			read := 0
			must(b, j.Scan(journal.Pos{}, func(f journal.Frame) error {
				read += len(f.Payload)
				return nil
			}))
			if read < backlog*eventBytes || len(opened.Damage) > 0 {
				b.Fatalf("read %d bytes, opened %v", read, opened.Damage)
			}
			must(b, j.Close())
		}
	})
}
