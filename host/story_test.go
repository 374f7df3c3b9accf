package host_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nixfleet/host"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the stories of testdata")

// TestStories plays testdata/*.txt. A story is a text: lines that start a word are what happens, the indented lines
// below each are what came of it, written by -rewrite and reviewed as a diff. Lines with # are for the reader.
//
//	policy on=halt soak=60 sustained=120    the signed policy; waves=10,20 instead of soak for a rollout policy
//	dispatch target=new wave=1 due=+30s     a fresh Pending record
//	superseded by=edge@def                  a newer dispatch was accepted
//	deadline                                asks NextDeadline
//	+14s ProbeResult name=http status=fail  an event, 14 s after the dispatch; seq=N in place of the next one
//
// Every event is taken by both origins; the records must be the same, and the effects of both are shown.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the story went another way (go test ./host -rewrite, then look at the diff):\n%s", got)
			}
		})
	}
}

// stage is a story in progress.
type stage struct {
	t      *testing.T
	record host.Record
	policy host.Policy
	out    bytes.Buffer
}

func play(t *testing.T, story string) []byte {
	s := stage{t: t, record: pending(), policy: policy()}
	for line := range strings.Lines(story) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, " "):
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&s.out, line)
			continue
		}
		fmt.Fprintln(&s.out, line)
		words := strings.Fields(line)
		args := arguments{t: t, line: line, values: map[string]string{}}
		switch words[0] {
		case "policy":
			args.read(words[1:])
			s.setPolicy(args)
		case "dispatch":
			args.read(words[1:])
			s.record = pending()
			s.record.TargetClosure = args.closure("target", newClosure)
			s.record.Wave = uint32(args.number("wave", 0))
			s.record.SoakDueAt = args.time("due", time.Time{})
		case "superseded":
			args.read(words[1:])
			s.record.SupersededBy = args.text("by", "")
		case "deadline":
			at, _ := host.NextDeadline(&s.record, &s.policy)
			s.say("%s", ago(at))
		default:
			args.at = parseAgo(t, words[0])
			args.read(words[2:])
			s.event(args.event(words[1]), uint64(args.number("seq", s.record.LastEventSeq+1)))
		}
		args.done()
	}
	return s.out.Bytes()
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(&s.out, "    "+format+"\n", args...) }

func (s *stage) setPolicy(args arguments) {
	s.policy = host.Policy{
		OnHealthFailure:         host.OnFailure(max(0, slices.Index(host.OnFailureNames[:], args.text("on", "rollback-and-halt")))),
		SustainedFailureSeconds: args.number("sustained", 120),
	}
	if waves := args.text("waves", ""); waves != "" {
		for w := range strings.SplitSeq(waves, ",") {
			n, err := strconv.ParseUint(w, 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			s.policy.WaveSoaks = append(s.policy.WaveSoaks, n)
		}
		return
	}
	s.policy.SoakSeconds, s.policy.HasSoak = args.number("soak", 60), true
}

// event takes e on both sides and says what changed and what came out.
func (s *stage) event(e host.Event, seq uint64) {
	before := s.record
	local, effects, err := host.Step(before, host.Stamped{Origin: host.Local, Seq: seq, Event: e}, t0, s.policy)
	remote, mirrored, mirrorErr := host.Step(before, host.Stamped{Origin: host.Remote, Seq: seq, Event: e}, t0, s.policy)
	if !local.Equal(&remote) || class(err) != class(mirrorErr) {
		s.t.Errorf("%T: the two sides disagree: %v, %v", e, err, mirrorErr)
	}
	if err != nil {
		s.say("refused: %v", err)
		return
	}
	if err := host.Check(&local); err != nil {
		s.t.Errorf("after %T: %v", e, err)
	}
	s.record = local
	for _, change := range changes(&before, &local) {
		s.say("%s", change)
	}
	for i := range effects.Len() {
		s.say("agent: %s", effectText(effects.At(i)))
	}
	for i := range mirrored.Len() {
		if i < effects.Len() && effectText(mirrored.At(i)) == effectText(effects.At(i)) {
			continue // the same on both sides
		}
		s.say("mirror: %s", effectText(mirrored.At(i)))
	}
}

func effectText(e host.Effect) string {
	switch e := e.(type) {
	case host.LocalFireSwitch:
		return "fire switch to " + e.Target
	case host.LocalFireRollbackTo:
		return "fire rollback to " + e.Closure
	case host.LocalResetProbeCache:
		return "reset probes"
	case host.LocalEmitEvent:
		if !e.Durable {
			return fmt.Sprintf("emit %T seq %d, may be coalesced", e.Payload.Event, e.Payload.Seq)
		}
		return fmt.Sprintf("emit %T seq %d", e.Payload.Event, e.Payload.Seq)
	case host.RemoteAppendEventLog:
		return fmt.Sprintf("log %T seq %d", e.Payload.Event, e.Payload.Seq)
	case host.RemoteInsertQuarantine:
		return "quarantine " + e.Closure + " on " + e.Channel
	case host.RecordTransition:
		return fmt.Sprintf("transition %s -> %s at %s", e.From, e.To, ago(e.At))
	case host.EmitMetric, host.EmitLog:
		return fmt.Sprintf("%T, which Step never makes", e)
	}
	return fmt.Sprintf("%T is unknown", e)
}

// changes lists the fields in which two records differ, as the second has them.
func changes(old, cur *host.Record) []string {
	var out []string
	was, is := fields(old), fields(cur)
	for i := range is {
		if is[i] != was[i] && !strings.HasPrefix(is[i], "LastEventSeq") && !strings.HasPrefix(is[i], "State") {
			out = append(out, is[i])
		}
	}
	return out
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "absent"
	}
	return fmt.Sprintf("%+gs", t.Sub(t0).Seconds())
}
