package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"nixfleet/agent/core"
	"nixfleet/host"
	"nixfleet/journal"
	"nixfleet/wire"
)

// JournalReport is what a replay of an agent's journal comes to.
type JournalReport struct {
	Steps    int // events that were run through Step again
	Differ   int // of which, and of the snapshots, not what was recorded, to the last bit
	Unread   int // commits that cannot be read
	Damage   []journal.Damage
	Rollouts map[string]host.Record // as recorded at the end
}

// Verified says whether everything was read and came out as it was recorded.
func (r *JournalReport) Verified() bool { return r.Differ == 0 && r.Unread == 0 && len(r.Damage) == 0 }

// ErrNoJournal: there is no journal in the directory.
var ErrNoJournal = errors.New("replay: no journal")

// Journal runs an agent's journal through Step and prints every step: when, which rollout, seq, event, from which
// state to which, and what had to be done. It reads dir, a state directory or the journal in it, without a lock and
// changes nothing, so it may be run beside the agent. With verify it prints what differs from the record too; the
// report counts it either way. An error means that the journal could not be read, or w not be written.
// docs/design/08-operating-and-proving.md.
func Journal(dir string, w io.Writer, verify bool) (JournalReport, error) {
	dir = journalIn(dir)
	p := &player{w: w, verify: verify}
	re, err := core.Reopen(core.Options{}, nil)
	if err != nil {
		return p.report, err
	}
	p.re = re
	re.Watch = p.step
	p.report.Damage, err = journal.ReadDir(dir, nil, p.frame)
	if err = errors.Join(err, p.err); err != nil {
		return p.report, err
	}
	if !p.any && len(p.report.Damage) == 0 {
		return p.report, fmt.Errorf("%w in %s", ErrNoJournal, dir)
	}
	for _, d := range p.report.Damage {
		p.printf("damaged: %s at byte %d: %s\n", d.File, d.Offset, d.Reason)
	}
	c, _ := re.Core(false)
	p.report.Rollouts = c.Records()
	return p.report, p.err
}

// Steps reads an agent's journal, as [Journal] does, and hands every recorded event to watch, in the order in which they
// were committed. It returns the agent's core as it is at the end. Damage and commits that cannot be read are errors,
// which come behind what could be read.
func Steps(dir string, watch func(core.Step)) (*core.Core, error) {
	re, err := core.Reopen(core.Options{}, nil)
	if err != nil {
		return nil, err
	}
	re.Watch = watch
	damage, err := journal.ReadDir(journalIn(dir), nil, func(f journal.Frame) error {
		if f.Kind == journal.Snapshot {
			_, err := re.Snapshot(f.Payload)
			return err
		}
		return re.Frame(f.Payload)
	})
	for _, d := range damage {
		err = errors.Join(err, d)
	}
	c, _ := re.Core(false)
	return c, err
}

// journalIn finds the journal where dir is a state directory, or the journal itself.
func journalIn(dir string) string {
	if inner := filepath.Join(dir, journalDir); isDir(inner) {
		return inner
	}
	return dir
}

// journalDir is where an agent keeps its journal within its state directory.
const journalDir = "journal"

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// player is one replay.
type player struct {
	re      *core.Reopening
	w       io.Writer
	verify  bool
	report  JournalReport
	segment uint64
	any     bool
	err     error // of writing
}

func (p *player) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *player) frame(f journal.Frame) error {
	if p.any && f.Pos.Segment > p.segment+1 {
		p.re.Restart() // segments between are missing
	}
	p.any, p.segment = true, f.Pos.Segment
	if f.Kind == journal.Snapshot {
		differ, err := p.re.Snapshot(f.Payload)
		p.unread(f, err)
		for _, id := range differ {
			p.report.Differ++
			if p.verify {
				p.printf("DIFFERS snapshot of segment %d: %s\n", f.Pos.Segment, id)
			}
		}
		return p.err
	}
	p.unread(f, p.re.Frame(f.Payload))
	return p.err
}

func (p *player) unread(f journal.Frame, err error) {
	if err == nil {
		return
	}
	p.report.Unread++
	p.printf("unread: segment %d at byte %d: %v\n", f.Pos.Segment, f.Pos.Offset, err)
}

func (p *player) step(s core.Step) {
	p.report.Steps++
	arrow := s.From.String()
	if s.To != s.From {
		arrow += " -> " + s.To.String()
	}
	p.printf("%s  %s  %d  %s  %s", s.Now.Wall.Format(time.RFC3339Nano), s.RolloutID, s.Seq, wire.EventKind(s.Event), arrow)
	for _, e := range s.Effects {
		if _, emit := e.(host.LocalEmitEvent); !emit { // the event itself, which stands there already
			p.printf("  %s", wire.AppendEffect(nil, e))
		}
	}
	p.printf("\n")
	if !s.Differs {
		return
	}
	p.report.Differ++
	if p.verify {
		p.printf("DIFFERS %s %d: recorded %s", s.RolloutID, s.Seq, wire.AppendRecord(nil, &s.Record))
		if s.Refusal != nil {
			p.printf(", this program refuses: %v", s.Refusal)
		}
		p.printf("\n")
	}
}
