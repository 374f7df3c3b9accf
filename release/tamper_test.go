package release_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/release"
	"nixfleet/trust"
)

func TestNothingTamperedWithIsReadOrSignedAnew(t *testing.T) {
	base := t.TempDir()
	write(t, request(t, base, "v1", "stable@s1", "edge@e1"))
	var files []string
	err := filepath.WalkDir(base, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".lock" {
			name, relErr := filepath.Rel(base, path)
			files, err = append(files, name), relErr
		}
		return err
	})
	if err != nil || len(files) != 8 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(base, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, offset := range []int{0, len(data) / 3, len(data) / 2, len(data) - 2} {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
				t.Fatal(err)
			}
			changed := bytes.Clone(data)
			changed[offset] ^= 4
			if err := os.WriteFile(filepath.Join(dir, name), changed, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := readAll(dir, roots(t, key(1)), now); err == nil {
				t.Errorf("%s with byte %d changed reads as if nothing had happened", name, offset)
			}
			if _, err := release.Resign(release.Request{Dir: dir, At: now.Add(time.Hour), Signer: key(1)}); err == nil {
				t.Errorf("%s with byte %d changed was signed anew", name, offset)
			}
		}
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(dir, roots(t, key(1)), now); err == nil {
			t.Errorf("%s can be removed", name)
		}
	}
}

func TestRevocationsArePublishedSigned(t *testing.T) {
	dir := t.TempDir()
	r := release.Request{Dir: dir, At: now, Signer: key(1)}
	list := []fleet.Revocation{{Hostname: "a", NotBefore: now, Reason: "stolen"}}
	if err := release.WriteRevocations(r, list); err != nil {
		t.Fatal(err)
	}
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := d.Revocations()
	if err != nil {
		t.Fatal(err)
	}
	v, err := trust.VerifyRevocations(doc.Raw, doc.Sig, roots(t, key(1)), now, trust.AnyAge)
	if err != nil || !v.Value().Revoked("a", now.Add(-1)) {
		t.Errorf("%v", err)
	}
	if err := release.WriteRevocations(r, []fleet.Revocation{{Hostname: "a b", NotBefore: now}}); !errors.Is(err, fleet.ErrDocument) {
		t.Error(err)
	}
}

func TestThePlanShowsTheWavesAndWritesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, request(t, dir, "v1", "edge@e1"))
	before := bytesOf(t, dir)
	r := request(t, dir, "v2", "stable@s2")
	r.Signer, r.At = nil, now.Add(time.Hour)
	got, err := release.Plan(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `stable@s2: 3 hosts in 2 waves, on failure rollback-and-halt, signatures good for 24h0m0s

  wave  hosts  soak    begins after  
  0     1      30m0s   0s            a
  1     2      45s     30m0s         b, c

channel edge stays at e1 and is signed anew
`
	if squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s", got)
	}
	if bytesOf(t, dir) != before {
		t.Error("planning changed the directory")
	}
	r.Fleet = bytes.Replace(r.Fleet, []byte(`"freshnessWindow": 1440`), []byte(`"freshnessWindow": 10`), 1)
	if got, err = release.Plan(r); err != nil || !strings.Contains(got, "the last wave begins 30m0s after the first at the earliest, and the signatures are good for 10m0s") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := release.Plan(request(t, "", "v2", "stable@s2")); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}

// squeeze makes runs of spaces one: how wide a column is does not matter here.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}
