package fleettest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"nixfleet/agent/activation"
	"nixfleet/keydir"
	"nixfleet/release"
	"nixfleet/trust"
)

// Build puts a good closure into the folder that hosts copy from.
func (s *Site) Build(version string) (closure string) {
	s.T.Helper()
	return s.build(version, healthy+" "+version+"\n")
}

// BuildBroken puts one there whose service is not healthy.
func (s *Site) BuildBroken(version string) (closure string) {
	s.T.Helper()
	return s.build(version, "out of order\n")
}

func (s *Site) build(version, service string) string {
	s.T.Helper()
	src := s.T.TempDir()
	for _, f := range []struct {
		path, text string
		mode       os.FileMode
	}{
		{"bin/switch-to-configuration", "#!/bin/sh\nexit 0\n", 0o755},
		{"etc/service", service, 0o644},
	} {
		path := filepath.Join(src, f.path)
		s.must(os.MkdirAll(filepath.Dir(path), 0o755))
		s.must(os.WriteFile(path, []byte(f.text), f.mode))
	}
	closure, err := activation.AddRelease(s.releases(), src, "site-"+version)
	s.must(err)
	return closure
}

// Release is what a test publishes. Hosts without a closure of their own get Closure.
type Release struct {
	Ref      string
	Closure  string
	Closures map[string]string // by host
	First    []string          // the hosts of the first wave; none: everyone at once
	Soak     int               // seconds
	At       time.Time         // zero: now
}

// Sustained is for how many seconds a probe must fail.
const Sustained = 2

// Publish signs and publishes a release and returns its rollout id.
func (s *Site) Publish(r Release) (rolloutID string) {
	s.T.Helper()
	signer, err := keydir.LoadReleaseKey(s.Keys())
	s.must(err)
	roots, err := trust.LoadFile(filepath.Join(s.Keys(), keydir.TrustFile))
	s.must(err)
	at := r.At
	if at.IsZero() {
		at = s.machine.Now().Wall
	}
	_, err = release.Write(release.Request{
		Fleet: s.fleet(r), Refs: map[string]string{Channel: r.Ref}, Dir: s.published(), At: at, Signer: signer, Trust: roots,
	})
	s.must(err)
	return Channel + "@" + r.Ref
}

func (s *Site) fleet(r Release) []byte {
	s.T.Helper()
	hosts := map[string]any{}
	for name, h := range s.hosts {
		closure := r.Closure
		if own, ok := r.Closures[name]; ok {
			closure = own
		}
		hosts[name] = map[string]any{"system": "x86_64-linux", "tags": []string{}, "channel": Channel, "closureHash": closure, "pubkey": h.pubkey}
	}
	wave := func(selector map[string]any) map[string]any {
		return map[string]any{"selector": selector, "soakMinutes": 0, "soakSeconds": r.Soak}
	}
	waves := []any{wave(map[string]any{"all": true})}
	if len(r.First) > 0 {
		waves = append([]any{wave(map[string]any{"hosts": r.First})}, waves...)
	}
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 1, "hosts": hosts,
		"channels": map[string]any{Channel: map[string]any{"rolloutPolicy": "careful", "freshnessWindow": 60}},
		"rolloutPolicies": map[string]any{"careful": map[string]any{
			"strategy": "waves", "waves": waves, "onHealthFailure": "rollback-and-halt",
			"sustainedFailureSeconds": Sustained, "activationTimeoutSeconds": 30,
		}},
		"meta": map[string]any{"schemaVersion": 1, "ciCommit": r.Ref},
	})
	s.must(err)
	return doc
}

// Documents reads what is published.
func (s *Site) Documents() *release.Dir {
	s.T.Helper()
	d, err := release.Open(s.published())
	s.must(err)
	return d
}
