package release_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/release"
)

var errCrash = errors.New("crash")

// crashAt gives a request that dies before its nth change of the directory, and tells whether it came that far.
func crashAt(r release.Request, n int, died *bool) release.Request {
	steps := 0
	return release.Stopping(r, func(string) error {
		steps++
		if *died = steps >= n; *died {
			return errCrash // and whatever comes after a crash does not happen either
		}
		return nil
	})
}

// A release dies before every single change of the directory in turn. Each time the directory must read as the old
// release or as the new one, and running the release again must finish it.
func TestACrashBetweenAnyTwoWritesLeavesAReadableRelease(t *testing.T) {
	at := now.Add(time.Hour)
	second := func(dir string) release.Request {
		r := request(t, dir, "v2", "stable@s2")
		r.At = at
		return r
	}
	resign := func(dir string) release.Request {
		return release.Request{Dir: dir, At: at, Signer: key(1)}
	}
	for name, c := range map[string]struct {
		request  func(dir string) release.Request
		run      func(release.Request) (release.Summary, error)
		old, new []string
	}{
		"a release": {second, release.Write, []string{"edge@e1", "stable@s1"}, []string{"edge@e1", "stable@s2"}},
		"resigning": {resign, release.Resign, []string{"edge@e1", "stable@s1"}, []string{"edge@e1", "stable@s1"}},
	} {
		t.Run(name, func(t *testing.T) {
			olds, news := 0, 0
			for n := 1; ; n++ {
				dir := t.TempDir()
				write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
				var died bool
				_, err := c.run(crashAt(c.request(dir), n, &died))
				if !died {
					if err != nil || olds == 0 || news == 0 {
						t.Fatalf("step %d: %v; %d read as old, %d as new", n, err, olds, news)
					}
					t.Logf("%d crashes: %d read as the old release, %d as the new one", n-1, olds, news)
					return
				}
				if !errors.Is(err, errCrash) {
					t.Fatalf("step %d: %v", n, err)
				}
				got, err := readAll(dir, roots(t, key(1)), at)
				if err != nil {
					t.Fatalf("step %d: the directory does not read: %v", n, err)
				}
				isNew := got.fleet.SignedAt().Equal(at)
				if want := map[bool][]string{false: c.old, true: c.new}[isNew]; !slices.Equal(got.newest, want) {
					t.Fatalf("step %d: %v, want %v", n, got.newest, want)
				}
				if isNew {
					news++
				} else {
					olds++
				}
				finish(t, n, isNew, c.run, c.request(dir), c.new)
			}
		})
	}
}

func finish(t *testing.T, n int, isNew bool, run func(release.Request) (release.Summary, error), r release.Request, want []string) {
	t.Helper()
	r.At = r.At.Add(time.Minute)
	_, err := run(r)
	if isNew && len(r.Refs) > 0 {
		// The release is in force: doing it again is a ref used twice. What is left over is settled by the next one.
		if !errors.Is(err, release.ErrRefUsed) {
			t.Fatalf("step %d: again: %v", n, err)
		}
		_, err = release.Resign(r)
	}
	if err != nil {
		t.Fatalf("step %d: again: %v", n, err)
	}
	got, err := readAll(r.Dir, roots(t, key(1)), r.At)
	if err != nil || !slices.Equal(got.newest, want) || !got.fleet.SignedAt().Equal(r.At) {
		t.Fatalf("step %d: finished: %v, %v", n, got.newest, err)
	}
	if left := leftovers(t, r.Dir); left != nil {
		t.Fatalf("step %d: left over: %v", n, left)
	}
}

func TestAnInterruptedReleaseIsNotFinishedWithOtherContent(t *testing.T) {
	tried := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
		r := request(t, dir, "v2", "stable@s2")
		r.At = now.Add(time.Hour)
		var died bool
		_, err := release.Write(crashAt(r, n, &died))
		if !died {
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if !hasManifest(t, dir, "stable@s2") {
			continue
		}
		tried++
		other := request(t, dir, "v3", "stable@s2")
		other.At = now.Add(2 * time.Hour)
		if _, err := release.Write(other); !errors.Is(err, release.ErrContent) && !errors.Is(err, release.ErrRefUsed) {
			t.Errorf("step %d: %v", n, err)
		}
	}
	if tried == 0 {
		t.Error("no crash left a manifest")
	}
}

func hasManifest(t *testing.T, dir, id string) bool {
	t.Helper()
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := d.Rollouts()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(ids, func(i fleet.RolloutID) bool { return i.String() == id })
}

// leftovers are the files that no release in force has.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name := d.Name()
		ok := d.IsDir() || name == ".lock" || strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".sig") || strings.HasSuffix(name, ".jsonl")
		if !ok {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestTheVeryFirstReleaseCanBeFinishedAfterACrash(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		var died bool
		if _, err := release.Write(crashAt(request(t, dir, "v1", "stable@s1", "edge@e1"), n, &died)); !died {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		r := request(t, dir, "v1", "stable@s1", "edge@e1")
		r.At = now.Add(time.Hour)
		_, err := release.Write(r)
		if errors.Is(err, release.ErrRefUsed) { // it died after the fleet was in place
			_, err = release.Resign(r)
		}
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if _, err := readAll(dir, roots(t, key(1)), r.At); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		if left := leftovers(t, dir); left != nil {
			t.Fatalf("step %d: left over: %v", n, left)
		}
	}
}
