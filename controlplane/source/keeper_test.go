package source_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/source"
	"nixfleet/fleet"
	"nixfleet/release"
	"nixfleet/trust"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

func publish(t *testing.T, dir, version string, at time.Time) {
	t.Helper()
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 1,
		"hosts":         map[string]any{"a": map[string]any{"system": "x", "tags": []string{}, "channel": "stable", "closureHash": version}},
		"channels":      map[string]any{"stable": map[string]any{"rolloutPolicy": "p", "freshnessWindow": 60}},
		"rolloutPolicies": map[string]any{"p": map[string]any{
			"strategy": "s", "onHealthFailure": "halt", "waves": []any{map[string]any{"selector": map[string]any{"all": true}, "soakMinutes": 0}},
		}},
		"meta": map[string]any{},
	})
	must(t, err)
	_, err = release.Write(release.Request{Fleet: doc, Refs: map[string]string{"stable": version}, Dir: dir, At: at, Signer: key(1)})
	must(t, err)
}

func keeper(t *testing.T, dir string) (*source.Keeper, *source.Directory) {
	t.Helper()
	pub, err := trust.PublicKey(key(1))
	must(t, err)
	d := source.NewDirectory(dir)
	t.Cleanup(func() { must(t, d.Close()) })
	return source.NewKeeper(d, &trust.File{CIRelease: trust.Slot{Current: &pub}}), d
}

func TestWhatIsPublishedComesInVerifiedAndOnlyChangesAreTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	k, _ := keeper(t, dir)
	if d, changed, err := k.Refresh(now); err == nil || changed || !d.Fleet.IsZero() {
		t.Errorf("nothing is there: %v %v", changed, err)
	}
	publish(t, dir, "v1", now)
	d, changed, err := k.Refresh(now)
	must(t, err)
	if !changed || d.Fleet.Value() == nil || len(d.Manifests) != 1 {
		t.Errorf("changed %v, %d manifests", changed, len(d.Manifests))
	}
	if again, changed, err := k.Refresh(now); err != nil || changed || again != d {
		t.Errorf("the same again: changed %v, %v", changed, err)
	}
	publish(t, dir, "v2", now.Add(time.Hour))
	d, changed, err = k.Refresh(now.Add(time.Hour))
	must(t, err)
	if newest, ok := d.Fleet.Value().Newest("stable"); !changed || len(d.Manifests) != 2 || !ok || newest.Ref() != "v2" {
		t.Errorf("changed %v, %d manifests, newest %s", changed, len(d.Manifests), newest)
	}
	v, err := k.Ticket("stable@v2", "a", now.Add(30*24*time.Hour))
	must(t, err)
	if v.Value().TargetClosure != "v2" {
		t.Errorf("ticket %+v", v.Value())
	}
	for _, c := range [][2]string{{"stable@v2", "b"}, {"stable@v3", "a"}} {
		if _, err := k.Ticket(c[0], c[1], now); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("ticket %v: %v", c, err)
		}
	}
}

func TestABadDocumentNeverTakesThePlaceOfAGoodOne(t *testing.T) {
	fleetFile, manifest := release.FleetFile, "rollouts/stable@v1.json"
	for name, damage := range map[string]func(t *testing.T, dir string){
		"fleet garbled":      func(t *testing.T, dir string) { write(t, dir, fleetFile, []byte("{")) },
		"fleet changed":      func(t *testing.T, dir string) { edit(t, dir, fleetFile, `"v1"`, `"v9"`) },
		"fleet gone":         func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, fleetFile))) },
		"signature gone":     func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, fleetFile+".sig"))) },
		"signature of other": func(t *testing.T, dir string) { resign(t, dir, fleetFile, 2) },
		"manifest changed": func(t *testing.T, dir string) {
			edit(t, dir, fleetFile, "x", "y")
			edit(t, dir, manifest, `"v1"`, `"v9"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			publish(t, dir, "v1", now)
			k, _ := keeper(t, dir)
			good, _, err := k.Refresh(now)
			must(t, err)
			damage(t, dir)
			d, changed, err := k.Refresh(now)
			if err == nil || changed || d != good {
				t.Errorf("changed %v, error %v", changed, err)
			}
		})
	}
}

func TestAnOlderSignatureDoesNotComeBack(t *testing.T) {
	dir := t.TempDir()
	publish(t, dir, "v1", now)
	old, err := release.Open(dir)
	must(t, err)
	doc, err := old.Fleet()
	must(t, err)
	k, _ := keeper(t, dir)
	publish(t, dir, "v2", now.Add(time.Hour))
	_, _, err = k.Refresh(now.Add(time.Hour))
	must(t, err)
	write(t, dir, release.FleetFile, doc.Raw)
	write(t, dir, release.FleetFile+".sig", doc.Sig)
	if _, changed, err := k.Refresh(now.Add(time.Hour)); !errors.Is(err, trust.ErrDowngrade) || changed {
		t.Errorf("changed %v, %v", changed, err)
	}
}

func TestAManifestUnderAnotherNameIsRefused(t *testing.T) {
	dir := t.TempDir()
	publish(t, dir, "v1", now)
	for _, suffix := range []string{".json", ".json.sig"} {
		data, err := os.ReadFile(filepath.Join(dir, "rollouts/stable@v1"+suffix))
		must(t, err)
		write(t, dir, "rollouts/stable@v2"+suffix, data)
	}
	k, _ := keeper(t, dir)
	d, _, err := k.Refresh(now)
	if !errors.Is(err, trust.ErrWrongRollout) || len(d.Manifests) != 1 {
		t.Errorf("%d manifests, %v", len(d.Manifests), err)
	}
}

func TestRevocationsAreKept(t *testing.T) {
	dir := t.TempDir()
	publish(t, dir, "v1", now)
	must(t, release.WriteRevocations(release.Request{Dir: dir, At: now, Signer: key(1)}, []fleet.Revocation{{Hostname: "a", NotBefore: now, Reason: "stolen"}}))
	k, _ := keeper(t, dir)
	_, _, err := k.Refresh(now)
	must(t, err)
	if r := k.Revocations(); r.IsZero() || !r.Value().Revoked("a", now.Add(-time.Hour)) || r.Value().Revoked("a", now.Add(time.Hour)) {
		t.Errorf("%+v", r.Value())
	}
	must(t, os.Remove(filepath.Join(dir, release.RevocationsFile)))
	if _, _, err := k.Refresh(now); err != nil || k.Revocations().IsZero() {
		t.Errorf("a list that is gone revokes no more: %v", err)
	}
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

func edit(t *testing.T, dir, name, old, replacement string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	write(t, dir, name, []byte(strings.Replace(string(data), old, replacement, 1)))
}

func resign(t *testing.T, dir, name string, seed byte) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	sig, err := trust.SignDocument(key(seed), data)
	must(t, err)
	write(t, dir, name+".sig", sig)
}
