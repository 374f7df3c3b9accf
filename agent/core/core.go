package core

import (
	"errors"
	"fmt"

	"nixfleet/clock"
	"nixfleet/host"
)

// MaxBatch is how many inputs one commit takes: what fits the agent's input channel.
const MaxBatch = 64

// Core decides for one host. See the package comment.
type Core struct {
	hostname string
	code     string
	st       *state
	view     *View
}

// Options say whose core it is.
type Options struct {
	Hostname string
	Code     string // version of this program, kept in frames
	Epoch    string // 128 random bits in hex: for a journal that has none yet
}

// New gives the core of a host about which nothing is known. It may adopt snapshots.
func New(o Options) *Core {
	c := &Core{hostname: o.Hostname, code: o.Code, st: newState()}
	c.st.epoch, c.st.adopts = o.Epoch, true
	c.view = c.st.view(c.hostname)
	return c
}

// Commit is what a batch of inputs comes to. Nothing of it holds before [Core.Applied].
type Commit struct {
	// Frame is to be made durable first. nil: nothing in the batch needs to be.
	Frame []byte
	// Results has one entry per input: nil if it was taken, else why not.
	Results []error
	// Effects are to be carried out afterwards, in order: transitions, resets of the probes, metrics and log lines.
	// Switches are not among them: the one that is owed is View.Intent, again and again until its event is there.
	Effects []host.Effect
	// Emitted is how many events were queued for the control plane.
	Emitted int

	next *state
}

// Handle decides on at most MaxBatch inputs at one moment. It changes nothing: see [Commit].
func (c *Core) Handle(batch []Input, now clock.Reading) *Commit {
	now.Wall = now.Wall.UTC().Truncate(millisecond)
	t := &turn{hostname: c.hostname, code: c.code, st: c.st.copied(), now: now, commit: &Commit{}}
	t.st.age(now)
	for _, in := range batch {
		t.commit.Results = append(t.commit.Results, t.take(in))
	}
	t.finish()
	return t.commit
}

// Applied makes the commit the present. Call it once its frame is durable, and for the commit of the last Handle only.
func (c *Core) Applied(commit *Commit) {
	c.st = commit.next
	c.view = c.st.view(c.hostname)
}

// View returns what the world may know of the core at this moment.
func (c *Core) View() *View { return c.view }

// turn is one Handle in progress.
type turn struct {
	hostname string
	code     string
	st       *state
	now      clock.Reading
	facts    []encodedFact
	commit   *Commit
}

// ErrRefused is the class of everything that a core does not take. The agent is none the worse for it.
var ErrRefused = errors.New("core: refused")

func (t *turn) take(in Input) error {
	switch in := in.(type) {
	case HostEvent:
		return t.hostEvent(&in)
	case Dispatch:
		return t.dispatch(&in)
	case AdvanceTick:
		return t.advance(in.Current)
	case Lost:
		return t.lost(&in)
	case BootstrapHost:
		return t.bootstrap(&in)
	case Acked:
		return t.acked(&in)
	case DeadLetter:
		return t.deadLetter(&in)
	case ReplayFrom:
		return t.replayFrom(&in)
	case Fork:
		return t.fork(&in)
	case WantRecord:
		return t.wantRecord(&in)
	case RecordSent:
		return t.recordSent(&in)
	case Scanned:
		if t.st.cursor != in.From {
			return fmt.Errorf("%w: the queue was sent back meanwhile", ErrRefused)
		}
		t.st.cursor = in.Cursor
		return nil
	}
	return fmt.Errorf("%w: unknown input %T", ErrRefused, in)
}

// record makes a fact: it goes into the frame and into the state at once. A fact that does not fit is a defect of
// this package; it is refused before anything of it is kept.
func (t *turn) record(f Fact) error {
	enc, err := encodeFact(f, t.st)
	if err != nil {
		return err
	}
	if err := t.st.apply(f, t.now); err != nil {
		return err
	}
	t.facts = append(t.facts, enc)
	return nil
}

func (t *turn) effect(e host.Effect) { t.commit.Effects = append(t.commit.Effects, e) }

func (t *turn) count(metric string) { t.effect(host.EmitMetric{Name: metric, Value: 1}) }

// step gives an event its time and its number, and does what Step makes of it.
func (t *turn) step(id string, e host.Event) error {
	r, ok := t.st.rollouts[id]
	if !ok {
		return fmt.Errorf("%w: no rollout %q", ErrRefused, id)
	}
	e, at, err := stamp(e, r.lastAt)
	if err != nil {
		return err
	}
	seq := r.nextSeq()
	next, effects, err := host.Step(r.rec, host.Stamped{Origin: host.Local, Seq: seq, Event: e}, t.now.Wall, r.policy)
	if err != nil {
		return err
	}
	if err := t.record(Stepped{RolloutID: id, Seq: seq, Event: e, At: at, Record: next}); err != nil {
		return err
	}
	t.commit.Emitted++
	return t.follow(id, effects.All())
}

// follow takes what a Step asks for: what is for others is passed on, switches become attempts that are counted.
func (t *turn) follow(id string, effects []host.Effect) error {
	for _, e := range effects {
		switch e := e.(type) {
		case host.LocalEmitEvent: // the frame that holds the event is the queue
		case host.LocalFireSwitch:
			if err := t.record(Fired{RolloutID: id, Attempt: 1}); err != nil {
				return err
			}
		case host.LocalFireRollbackTo:
			if err := t.fireRollback(id); err != nil {
				return err
			}
		case host.LocalResetProbeCache, host.RecordTransition, host.EmitMetric, host.EmitLog:
			t.effect(e)
		case host.RemoteAppendEventLog, host.RemoteInsertQuarantine:
			t.effect(host.EmitLog{Level: levelError, Message: "core: dropped an effect of the other side", Attrs: []string{"effect", fmt.Sprintf("%T", e)}})
		}
	}
	return nil
}

// finish makes the frame. Without a fact there is none: the accounting that changed rides in the next one.
func (t *turn) finish() {
	t.commit.next = t.st
	if len(t.facts) == 0 {
		return
	}
	for _, id := range t.st.order {
		r := t.st.rollouts[id]
		if !r.dirty {
			continue
		}
		f := Accounted{RolloutID: id, Acked: r.acked, Done: r.done, Base: r.base, Dead: r.dead, Owed: r.owed}
		// An account of a rollout that is there always fits.
		if err := t.record(f); err != nil {
			t.effect(host.EmitLog{Level: levelError, Message: "core: accounting lost", Attrs: []string{"error", err.Error()}})
		}
	}
	t.commit.Frame = appendFrame(nil, t.st, t.code, t.now, t.facts)
	t.st.code, t.st.boot = t.code, t.now.BootID
}

// Levels of EmitLog, as in log/slog.
const (
	levelInfo  = 0
	levelWarn  = 4
	levelError = 8
)
