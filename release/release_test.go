package release_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/release"
	"nixfleet/trust"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

func roots(t testing.TB, keys ...ed25519.PrivateKey) *trust.File {
	t.Helper()
	var slots [2]*trust.Key
	for i, k := range keys {
		pub, err := trust.PublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		slots[i] = &pub
	}
	return &trust.File{CIRelease: trust.Slot{Current: slots[0], Previous: slots[1]}}
}

// source is a fleet of two channels with closures of the given version.
func source(version string) []byte {
	return []byte(`{
		"schemaVersion": 1,
		"x-origin": {"kept": [1, 2]},
		"hosts": {
			"a": {"system": "x", "tags": ["canary"], "channel": "stable", "closureHash": "` + version + `-a", "x-note": "kept"},
			"b": {"system": "x", "tags": [], "channel": "stable", "closureHash": "` + version + `-b"},
			"c": {"system": "x", "tags": [], "channel": "stable", "closureHash": "` + version + `-c"},
			"e": {"system": "x", "tags": [], "channel": "edge", "closureHash": "` + version + `-e"},
			"idle": {"system": "x", "tags": [], "channel": "edge"}
		},
		"channels": {
			"stable": {"rolloutPolicy": "canary", "freshnessWindow": 1440},
			"edge": {"rolloutPolicy": "all", "freshnessWindow": 60}
		},
		"rolloutPolicies": {
			"canary": {"strategy": "canary", "onHealthFailure": "rollback-and-halt", "healthGate": {"z": 1, "a": 2},
				"waves": [{"selector": {"tags": ["canary"]}, "soakMinutes": 30}, {"selector": {"all": true}, "soakMinutes": 0, "soakSeconds": 45}]},
			"all": {"strategy": "all", "onHealthFailure": "halt", "waves": [{"selector": {"all": true}, "soakMinutes": 1}]}
		},
		"disruptionBudgets": [{"selector": {"all": true}, "maxInFlight": 2}],
		"meta": {"x-run": 7}
	}`)
}

func request(t testing.TB, dir, version string, refs ...string) release.Request {
	t.Helper()
	r := release.Request{Fleet: source(version), Refs: map[string]string{}, Dir: dir, At: now, Signer: key(1)}
	for _, ref := range refs {
		channel, ref, ok := strings.Cut(ref, "@")
		if !ok {
			t.Fatal(ref)
		}
		r.Refs[channel] = ref
	}
	return r
}

func write(t testing.TB, r release.Request) release.Summary {
	t.Helper()
	s, err := release.Write(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// state is all that a published directory says, verified.
type state struct {
	fleet   trust.Verified[*fleet.Fleet]
	newest  []string
	targets map[string]string // by "rollout host", of the newest rollouts
}

// readAll reads a directory as a control plane would and fails on anything that does not verify or fit together.
func readAll(path string, f *trust.File, at time.Time) (state, error) {
	d, err := release.Open(path)
	if err != nil {
		return state{}, err
	}
	doc, err := d.Fleet()
	if err != nil {
		return state{}, err
	}
	s := state{targets: map[string]string{}}
	if s.fleet, err = trust.VerifyFleet(doc.Raw, doc.Sig, f, at, trust.AnyAge); err != nil {
		return state{}, err
	}
	ids, err := d.Rollouts()
	if err != nil {
		return state{}, err
	}
	// Every manifest has to be whole; the newest have to be there.
	for _, id := range ids {
		if err := s.rollout(d, id, f, at); err != nil {
			return state{}, err
		}
	}
	for _, channel := range []string{"edge", "stable"} {
		if id, ok := s.fleet.Value().Newest(channel); ok {
			s.newest = append(s.newest, id.String())
			if !slices.Contains(ids, id) {
				return state{}, errors.New("the newest rollout " + id.String() + " has no manifest")
			}
		}
	}
	return s, nil
}

func (s *state) rollout(d *release.Dir, id fleet.RolloutID, f *trust.File, at time.Time) (err error) {
	doc, err := d.Manifest(id)
	if err != nil {
		return err
	}
	m, err := trust.VerifyManifest(doc.Raw, doc.Sig, f, at, trust.AnyAge)
	if err != nil {
		return err
	}
	if err := trust.CheckRollout(m, id); err != nil {
		return err
	}
	tickets, err := d.Tickets(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tickets.Close()) }()
	if tickets.Len() != len(m.Value().HostSet) {
		return errors.New(id.String() + ": not a ticket for every host")
	}
	for _, e := range m.Value().HostSet {
		doc, err := tickets.Ticket(e.Hostname)
		if err != nil {
			return err
		}
		v, err := trust.VerifyTicket(doc.Raw, doc.Sig, f, at, trust.AnyAge)
		if err != nil {
			return err
		}
		if got := v.Value(); got.Hostname != e.Hostname || got.RolloutID != id || got.Wave != e.WaveIndex || got.TargetClosure != e.TargetClosure {
			return errors.New("the ticket of " + e.Hostname + " is not what the manifest says")
		}
		s.targets[id.String()+" "+e.Hostname] = e.TargetClosure
	}
	return nil
}

func mustRead(t testing.TB, path string, f *trust.File) state {
	t.Helper()
	s, err := readAll(path, f, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsPublishedIsReadBackAndVerified(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "public")
	s := write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
	if len(s.Rollouts) != 2 || s.Hosts != 4 || len(s.Refreshed) != 0 {
		t.Errorf("%+v", s)
	}
	got := mustRead(t, dir, roots(t, key(1)))
	if !slices.Equal(got.newest, []string{"edge@e1", "stable@s1"}) || got.fleet.Hash() != s.FleetHash || !got.fleet.SignedAt().Equal(now) {
		t.Errorf("%+v", got)
	}
	if got.targets["stable@s1 b"] != "v1-b" || len(got.targets) != 4 {
		t.Errorf("%v", got.targets)
	}
	for _, kept := range []string{`"x-origin":{"kept":[1,2]}`, `"x-note":"kept"`, `"x-run":7`, `"waves":{"edge":[`} {
		if !bytes.Contains(got.fleet.Raw(), []byte(kept)) {
			t.Errorf("the fleet has no %s", kept)
		}
	}
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := fleet.NewRolloutID("stable", "s1")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := d.Ticket(id, "a")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"channel":"stable","fleetHash":"` + s.FleetHash + `","freshnessSeconds":86400,"hostname":"a","policy":{"activationTimeoutSeconds":600,` +
		`"healthGate":{"a":2,"z":1},"onHealthFailure":"rollback-and-halt","sustainedFailureSeconds":120},"rolloutId":"stable@s1","schemaVersion":1,` +
		`"signedAt":"2026-01-02T12:00:00Z","soakSeconds":1800,"targetClosure":"v1-a","wave":0}`
	if string(doc.Raw) != want {
		t.Errorf("got  %s\nwant %s", doc.Raw, want)
	}
	if _, err := d.Ticket(id, "idle"); !errors.Is(err, release.ErrNotFound) {
		t.Errorf("a host without a ticket: %v", err)
	}
	if _, err := d.Revocations(); !errors.Is(err, release.ErrNotFound) {
		t.Errorf("no revocations: %v", err)
	}
}

func TestTheSameReleaseIsTheSameBytes(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	write(t, request(t, one, "v1", "stable@s1", "edge@e1"))
	write(t, request(t, two, "v1", "stable@s1", "edge@e1"))
	if a, b := bytesOf(t, one), bytesOf(t, two); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// bytesOf is every file of a directory in one string.
func bytesOf(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, relErr := filepath.Rel(dir, path)
		out.WriteString(name + "\n" + string(data) + "\n")
		return errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheRefIsMetaCICommitUnlessAskedFor(t *testing.T) {
	dir := t.TempDir()
	r := request(t, dir, "v1")
	if _, err := release.Write(r); !errors.Is(err, release.ErrNoRef) {
		t.Errorf("no ref anywhere: %v", err)
	}
	r.Fleet = bytes.Replace(r.Fleet, []byte(`"x-run": 7`), []byte(`"ciCommit": "c0ffee"`), 1)
	write(t, r)
	if got := mustRead(t, dir, roots(t, key(1))); !slices.Equal(got.newest, []string{"edge@c0ffee", "stable@c0ffee"}) {
		t.Errorf("%v", got.newest)
	}
}

func TestAReleaseThatMustNotBeIsRefusedAndWritesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*release.Request)
		want   error
	}{
		"no key":             {func(r *release.Request) { r.Signer = nil }, release.ErrRequest},
		"no directory":       {func(r *release.Request) { r.Dir = "" }, release.ErrRequest},
		"no time":            {func(r *release.Request) { r.At = time.Time{} }, release.ErrRequest},
		"no JSON":            {func(r *release.Request) { r.Fleet = []byte("{") }, fleet.ErrDocument},
		"a channel unknown":  {func(r *release.Request) { r.Refs["x"] = "1" }, release.ErrNoRef},
		"a ref with a slash": {func(r *release.Request) { r.Refs["stable"] = "a/b" }, fleet.ErrRolloutID},
		"an id too long for a file name": {func(r *release.Request) {
			r.Refs["stable"] = strings.Repeat("x", release.MaxID)
		}, fleet.ErrRolloutID},
		"a fleet that lint refuses": {func(r *release.Request) {
			r.Fleet = bytes.Replace(r.Fleet, []byte(`"maxInFlight": 2`), []byte(`"maxInFlight": 0`), 1)
		}, fleet.ErrLint},
		"an empty wave": {func(r *release.Request) {
			r.Fleet = bytes.Replace(r.Fleet, []byte(`"tags": ["canary"], "channel"`), []byte(`"tags": [], "channel"`), 1)
		}, fleet.ErrLint},
		"an integer that cannot be signed": {func(r *release.Request) {
			r.Fleet = bytes.Replace(r.Fleet, []byte(`[1, 2]`), []byte(`[9007199254740993]`), 1)
		}, trust.ErrUnsafeInteger},
	} {
		dir := filepath.Join(t.TempDir(), "public")
		r := request(t, dir, "v1", "stable@s1")
		c.change(&r)
		if _, err := release.Write(r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the directory was made", name)
		}
	}
}

func TestARefIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
	later := func(version string, refs ...string) release.Request {
		r := request(t, dir, version, refs...)
		r.At = now.Add(time.Hour)
		return r
	}
	before := bytesOf(t, dir)
	for name, r := range map[string]release.Request{
		"the same again":           later("v1", "stable@s1"),
		"other content":            later("v2", "stable@s1"),
		"beside a ref that is new": later("v2", "stable@s1", "edge@e2"),
	} {
		if _, err := release.Write(r); !errors.Is(err, release.ErrRefUsed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if bytesOf(t, dir) != before {
		t.Error("a refused release changed the directory")
	}
	write(t, later("v2", "stable@s2"))
	if _, err := release.Write(later("v1", "stable@s1")); !errors.Is(err, release.ErrRefUsed) {
		t.Errorf("going back: %v", err)
	}
	early := request(t, dir, "v3", "stable@s3")
	if _, err := release.Write(early); !errors.Is(err, release.ErrClock) {
		t.Errorf("a clock that went back: %v", err)
	}
	wayBack := request(t, dir, "v3", "stable@s3")
	wayBack.At = now.Add(-time.Hour)
	if _, err := release.Write(wayBack); !errors.Is(err, release.ErrClock) {
		t.Errorf("a clock that went back further than the slack: %v", err)
	}
}

func TestAChannelWithoutANewRefKeepsItsContent(t *testing.T) {
	dir := t.TempDir()
	write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
	r := request(t, dir, "v2", "stable@s2")
	r.At = now.Add(time.Minute)
	s := write(t, r)
	if len(s.Refreshed) != 1 || s.Refreshed[0].String() != "edge@e1" {
		t.Errorf("%+v", s)
	}
	got := mustRead(t, dir, roots(t, key(1)))
	if !slices.Equal(got.newest, []string{"edge@e1", "stable@s2"}) || got.targets["edge@e1 e"] != "v1-e" || got.targets["stable@s2 a"] != "v2-a" {
		t.Errorf("%+v", got)
	}
	edge := manifestOf(t, dir, "edge@e1")
	if edge.FleetResolvedHash != s.FleetHash || !edge.Meta.SignedAt.Equal(now.Add(time.Minute)) {
		t.Errorf("%+v", edge)
	}
	if old := manifestOf(t, dir, "stable@s1"); !old.Meta.SignedAt.Equal(now) {
		t.Error("an old rollout was signed anew")
	}
}

func manifestOf(t testing.TB, dir, id string) *fleet.Manifest {
	t.Helper()
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := fleet.ParseRolloutID(id)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := d.Manifest(parsed)
	if err != nil {
		t.Fatal(err)
	}
	m, err := fleet.ParseManifest(doc.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestResignChangesNothingButTimeAndWhatFollows(t *testing.T) {
	dir := t.TempDir()
	write(t, request(t, dir, "v1", "stable@s1", "edge@e1"))
	before := content(t, dir)
	s, err := release.Resign(release.Request{Dir: dir, At: now.Add(10 * time.Hour), Signer: key(1)})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Refreshed) != 2 || len(s.Rollouts) != 0 {
		t.Errorf("%+v", s)
	}
	if after := content(t, dir); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	got, err := readAll(dir, roots(t, key(1)), now.Add(10*time.Hour))
	if err != nil || !got.fleet.SignedAt().Equal(now.Add(10*time.Hour)) || got.fleet.Hash() != s.FleetHash {
		t.Errorf("%+v, %v", got, err)
	}
	if m := manifestOf(t, dir, "edge@e1"); m.FleetResolvedHash != s.FleetHash {
		t.Error("the manifest names another fleet")
	}
	if _, err := release.Resign(release.Request{Dir: dir, At: now, Signer: key(1)}); !errors.Is(err, release.ErrClock) {
		t.Errorf("a clock that went back: %v", err)
	}
	if _, err := release.Resign(release.Request{Dir: t.TempDir(), At: now, Signer: key(1)}); !errors.Is(err, release.ErrNotFound) {
		t.Errorf("nothing to sign: %v", err)
	}
	missing := filepath.Join(dir, "mistyped")
	if _, err := release.Resign(release.Request{Dir: missing, At: now, Signer: key(1)}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
}

// content is every signed document without times, signatures and hashes, and the hash of every ticket's policy.
func content(t testing.TB, dir string) string {
	t.Helper()
	strip := func(raw []byte) string {
		var tree map[string]any
		if err := json.Unmarshal(raw, &tree); err != nil {
			t.Fatal(err)
		}
		delete(tree, "fleetResolvedHash")
		delete(tree, "fleetHash")
		delete(tree, "signedAt")
		if meta, ok := tree["meta"].(map[string]any); ok {
			delete(meta, "signedAt")
		}
		out, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		return string(out) + "\n"
	}
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := d.Fleet()
	if err != nil {
		t.Fatal(err)
	}
	out := strip(doc.Raw)
	ids, err := d.Rollouts()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		doc, err := d.Manifest(id)
		if err != nil {
			t.Fatal(err)
		}
		out += strip(doc.Raw)
		tickets, err := d.Tickets(id)
		if err != nil {
			t.Fatal(err)
		}
		for doc, err := range tickets.All() {
			if err != nil {
				t.Fatal(err)
			}
			out += strip(doc.Raw)
		}
		if err := tickets.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestANewKeySignsAnewWhatTheOldOneSigned(t *testing.T) {
	dir := t.TempDir()
	write(t, request(t, dir, "v1", "stable@s1"))
	r := release.Request{Dir: dir, At: now.Add(time.Hour), Signer: key(2)}
	if _, err := release.Resign(r); !errors.Is(err, trust.ErrBadSignature) {
		t.Errorf("a key that nobody vouched for: %v", err)
	}
	r.Trust = roots(t, key(2), key(1))
	if _, err := release.Resign(r); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(dir, roots(t, key(2)), now.Add(time.Hour)); err != nil {
		t.Error(err)
	}
}

func TestTheStampChangesWithEveryRelease(t *testing.T) {
	dir := t.TempDir()
	d, err := release.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	look := func(what string) {
		t.Helper()
		stamp, err := d.Stamp()
		if err != nil || seen[stamp] {
			t.Errorf("%s: %q, %v", what, stamp, err)
		}
		seen[stamp] = true
	}
	look("nothing")
	write(t, request(t, dir, "v1", "stable@s1"))
	look("a release")
	if _, err := release.Resign(release.Request{Dir: dir, At: now.Add(time.Hour), Signer: key(1)}); err != nil {
		t.Fatal(err)
	}
	look("signed anew")
	if err := release.WriteRevocations(release.Request{Dir: dir, At: now, Signer: key(1)}, nil); err != nil {
		t.Fatal(err)
	}
	look("revocations")
}

func TestASecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	var inner error
	r := release.Stopping(request(t, dir, "v1", "stable@s1"), func(string) error {
		_, inner = release.Write(request(t, dir, "v1", "edge@e1"))
		return inner
	})
	if _, err := release.Write(r); !errors.Is(err, release.ErrBusy) || !errors.Is(inner, release.ErrBusy) {
		t.Errorf("%v, %v", err, inner)
	}
	write(t, request(t, dir, "v1", "stable@s1"))
}
