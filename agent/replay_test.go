package agent

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/agent/core"
	"nixfleet/journal"
	"nixfleet/replay"
)

func TestAReplayNamesEveryStepAndWhatWasTamperedWith(t *testing.T) {
	inBubble(t, func(s *site) {
		stop := s.run()
		s.pass(time.Second)
		s.cp.send(s.release("stable@a", v2))
		s.pass(time.Minute)
		stop()
		var out bytes.Buffer
		report, err := replay.Journal(s.cfg.StateDir, &out, false)
		if err != nil || report.Steps != 5 || !strings.Contains(out.String(), "stable@a  5  Converged  Soaking -> Converged") {
			t.Fatalf("%+v %v\n%s", report, err, out.String())
		}
		t.Log(out.String())
		forged := filepath.Join(t.TempDir(), "forged")
		forge(t, s.cfg.StateDir, forged)
		out.Reset()
		report, err = replay.Journal(forged, &out, true)
		if err != nil || report.Differ != 1 || !strings.Contains(out.String(), "DIFFERS stable@a 3: recorded") {
			t.Fatalf("%+v %v\n%s", report, err, out.String())
		}
	})
}

// forge copies a journal and makes its soak end a day earlier.
func forge(t *testing.T, state, to string) {
	t.Helper()
	j, _, err := journal.Open(journal.Options{Dir: to, Schema: core.Schema})
	if err != nil {
		t.Fatal(err)
	}
	damage, err := journal.ReadDir(filepath.Join(state, JournalDir), nil, func(f journal.Frame) error {
		if f.Kind == journal.Snapshot {
			return j.Rotate(f.Payload)
		}
		_, err := j.Append(bytes.Replace(f.Payload, []byte(`"soakDueAt":"2000-01-01T`), []byte(`"soakDueAt":"1999-12-31T`), -1))
		return err
	})
	if err != nil || len(damage) > 0 {
		t.Fatal(err, damage)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
