package release_test

import (
	"sync"
	"testing"
	"time"

	"nixfleet/release"
	"nixfleet/trust"
)

// A reader that looks while a directory is being signed anew always gets a document with the signature that is its.
func TestAReaderNeverGetsAnotherDocumentsSignature(t *testing.T) {
	dir := t.TempDir()
	write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
	f := roots(t, key(1))
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	const times = 30
	last := now.Add(times * time.Second)
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		defer close(done)
		for i := 1; i <= times; i++ {
			if _, err := release.Resign(release.Request{Dir: dir, At: now.Add(time.Duration(i) * time.Second), Signer: key(1)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	reads, seen := 0, map[time.Time]bool{}
	for running := true; running; reads++ {
		select {
		case <-done:
			running = false
		default:
		}
		doc, err := d.Fleet()
		if err != nil {
			t.Fatal(err)
		}
		v, err := trust.VerifyFleet(doc.Raw, doc.Sig, f, last, trust.AnyAge)
		if err != nil {
			t.Fatal(err)
		}
		seen[v.SignedAt()] = true
	}
	writer.Wait()
	t.Logf("%d reads of %d releases", reads, len(seen))
}
