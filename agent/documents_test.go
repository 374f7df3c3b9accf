package agent

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/release"
	"nixfleet/trust"
	"nixfleet/wire"
)

// serveOriginal answers as a control plane that has no tickets and announces nothing.
func (cp *controlPlane) serveOriginal(w http.ResponseWriter, r *http.Request, body []byte) {
	cp.mu.Lock()
	doc, ok := cp.original[r.URL.Path]
	cp.asked[r.URL.Path]++
	cp.mu.Unlock()
	switch {
	case r.URL.Path == wire.PathDispatch:
		cp.serveDispatch(w, r)
	case r.URL.Path == wire.PathEvents:
		cp.serveEvent(w, body)
	case r.URL.Path == wire.PathBeat:
		w.Write((&wire.HeartbeatAnswer{ReceivedAt: time.Now().UTC()}).Encode())
	case ok:
		tag := `"` + trust.Hash(doc) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(doc)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// publishWhole releases ref with target as an operator does, and has the control plane serve the whole documents.
func (s *site) publishWhole(ref, target string) *wire.Dispatch {
	s.t.Helper()
	source, err := json.Marshal(map[string]any{
		"schemaVersion": 1,
		"hosts":         map[string]any{web: map[string]any{"system": "x86_64-linux", "channel": "stable", "closureHash": target}},
		"channels":      map[string]any{"stable": map[string]any{"rolloutPolicy": "p", "freshnessWindow": 60}},
		"rolloutPolicies": map[string]any{"p": map[string]any{
			"onHealthFailure": "rollback-and-halt", "waves": []any{map[string]any{"selector": map[string]any{"all": true}, "soakSeconds": 30}},
		}},
		"meta": map[string]any{"schemaVersion": 1},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.cfg.StateDir, "..", "published")
	now := s.clock.Now().Wall
	if _, err := release.Write(release.Request{Fleet: source, Refs: map[string]string{"stable": ref}, Dir: dir, At: now, Signer: s.signer}); err != nil {
		s.t.Fatal(err)
	}
	id := "stable@" + ref
	s.cp.mu.Lock()
	defer s.cp.mu.Unlock()
	for path, file := range map[string]string{wire.PathFleet: "fleet.resolved.json", wire.PathRollouts + id: "rollouts/" + id + ".json"} {
		for suffix, ending := range map[string]string{"": "", wire.PathSig: ".sig"} {
			if s.cp.original[path+suffix], err = os.ReadFile(filepath.Join(dir, file+ending)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return &wire.Dispatch{Hostname: web, RolloutID: id, TargetClosure: target, SoakDueAt: now, EnqueuedAt: now}
}

func TestAControlPlaneWithoutTicketsIsServedByWholeDocuments(t *testing.T) {
	inBubble(t, func(s *site) {
		s.cp.original, s.cp.asked = map[string][]byte{}, map[string]int{}
		d := s.publishWhole("abc", v2)
		stop := s.run()
		s.pass(3 * time.Minute) // the fleet and the manifest are looked at again and again
		s.cp.send(d)
		s.pass(2 * time.Minute)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		if s.cp.asked[wire.PathFleet] < 4 || s.cp.asked[wire.PathFleet+wire.PathSig] != 1 {
			t.Errorf("the fleet was asked for %d times, its signature %d times: want often, and once", s.cp.asked[wire.PathFleet], s.cp.asked[wire.PathFleet+wire.PathSig])
		}
		stop()
	})
}

func TestTheLastGoodDocumentsServeWhereTheNetworkOrTheDocumentsAreBad(t *testing.T) {
	inBubble(t, func(s *site) {
		s.cp.original, s.cp.asked = map[string][]byte{}, map[string]int{}
		d := s.publishWhole("abc", v2)
		stop := s.run()
		s.pass(2 * time.Minute)
		s.cp.mu.Lock()
		for path, doc := range s.cp.original { // the signature stays, what it signs does not
			if !strings.HasSuffix(path, wire.PathSig) {
				s.cp.original[path] = []byte(strings.Replace(string(doc), v2, v3, 1))
			}
		}
		s.cp.mu.Unlock()
		s.cp.send(d)
		s.pass(time.Minute)
		if got := s.states(); got != "" {
			t.Errorf("forged documents were acted on: %s", got)
		}
		s.cp.mu.Lock()
		clear(s.cp.original) // 404 for everything: what is on the disk is still good
		s.cp.mu.Unlock()
		s.pass(20 * time.Minute)
		if got := s.states(); got != "Activating Soaking Converged" {
			t.Error(got)
		}
		stop()
	})
}

func TestAManifestOfAnotherFleetOrTooOldIsNotActedOn(t *testing.T) {
	for name, spoil := range map[string]func(s *site){
		"another fleet": func(s *site) {
			old := s.cp.original[wire.PathRollouts+"stable@abc"]
			oldSig := s.cp.original[wire.PathRollouts+"stable@abc"+wire.PathSig]
			s.publishWhole("def", v3) // signs the fleet anew
			s.cp.original[wire.PathRollouts+"stable@abc"], s.cp.original[wire.PathRollouts+"stable@abc"+wire.PathSig] = old, oldSig
		},
		"too old": func(s *site) { s.pass(3 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(s *site) {
				s.cp.original, s.cp.asked = map[string][]byte{}, map[string]int{}
				d := s.publishWhole("abc", v2)
				spoil(s)
				stop := s.run()
				s.cp.send(d)
				s.pass(5 * time.Minute)
				if got := s.states(); got != "" || s.host.fired() != "" {
					t.Errorf("acted on: %s %s", got, s.host.fired())
				}
				stop()
			})
		})
	}
}
