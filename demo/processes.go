package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The bounds of the chaos: often enough to hit every stage of a rollout, rare enough that it can end.
const (
	killEvery = 900 * time.Millisecond // at most; at least a tenth of it
	maxKills  = 60
)

// processes runs the control plane and every agent as a process of its own, and kills them.
type processes struct {
	world *world
	self  string
	rng   *rand.Rand
	print *printer

	parts []*part // the control plane first
}

// part is one process and its successors.
type part struct {
	name  string
	args  []string
	log   string
	mu    sync.Mutex // held while it is started or killed
	cmd   *exec.Cmd
	ended chan error // one value per process
}

func newProcesses(w *world, address string, seed uint64, print *printer) (*processes, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("demo: own path: %w", err)
	}
	const stream = 0x6e69786673 // any constant: seeds then differ from those of other programs
	p := &processes{world: w, self: self, rng: rand.New(rand.NewPCG(seed, stream)), print: print}
	p.parts = append(p.parts, &part{
		name: "control plane", args: []string{roleControlPlane, w.dir, address}, log: filepath.Join(w.cp(), "log"),
	})
	for _, m := range w.hosts {
		p.parts = append(p.parts, &part{name: m.name, args: []string{roleAgent, m.settings()}, log: filepath.Join(m.root, "log")})
	}
	return p, nil
}

func (p *processes) start(context.Context) error {
	for _, q := range p.parts {
		if err := q.start(p.self); err != nil {
			return err
		}
	}
	return nil
}

// during kills one process after another, each at a moment of its own, and starts it again.
func (p *processes) during() func(context.Context) error {
	return func(ctx context.Context) error {
		kills := 0
		defer func() { p.print.note("%d processes were killed on the way, and started again", kills) }()
		for ; kills < maxKills; kills++ {
			pause := killEvery/10 + time.Duration(p.rng.Int64N(int64(killEvery)))
			victim := p.parts[0]
			if p.rng.IntN(3) > 0 { // every third time, on average, it is the control plane
				victim = p.parts[1+p.rng.IntN(len(p.parts)-1)]
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			if err := victim.kill(); err != nil {
				return err
			}
			p.print.note("SIGKILL  %s", victim.name)
			if err := victim.start(p.self); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *processes) stop() error {
	var problems []error
	for i := len(p.parts) - 1; i >= 0; i-- { // the agents first, so that they can say goodbye
		problems = append(problems, p.parts[i].stop())
	}
	return errors.Join(problems...)
}

// start starts the process; its words go to its log.
func (q *part) start(self string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	log, err := os.OpenFile(q.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("demo: %s: %w", q.name, err)
	}
	cmd := exec.Command(self, q.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no orphans if the demo itself is killed
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("demo: start %s: %w", q.name, err), log.Close())
	}
	q.cmd, q.ended = cmd, make(chan error, 1)
	ended := q.ended
	go func() { ended <- errors.Join(cmd.Wait(), log.Close()) }()
	return nil
}

// kill ends the process without warning. One that has ended by itself is a failure of the demo.
func (q *part) kill() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case err := <-q.ended:
		return q.endedByItself(err)
	default:
	}
	if err := q.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("demo: kill %s: %w", q.name, err)
	}
	<-q.ended // the error says that it was killed
	return nil
}

func (q *part) endedByItself(err error) error {
	return fmt.Errorf("demo: %s ended by itself: %w; its log ends:\n%s", q.name, err, tail(q.log))
}

// stopGrace is how long a process has to end when asked.
const stopGrace = 20 * time.Second

func (q *part) stop() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cmd == nil {
		return nil
	}
	select {
	case err := <-q.ended:
		return q.endedByItself(err)
	default:
	}
	if err := q.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("demo: stop %s: %w", q.name, err)
	}
	select {
	case err := <-q.ended:
		if err != nil {
			return fmt.Errorf("demo: %s did not end well: %w; its log ends:\n%s", q.name, err, tail(q.log))
		}
		return nil
	case <-time.After(stopGrace):
		return errors.Join(fmt.Errorf("demo: %s did not end within %s", q.name, stopGrace), q.cmd.Process.Kill())
	}
}

// tail returns the end of a log, for an error message.
func tail(path string) string {
	const most = 2000
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close()).Error()
	}
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-most), most))
	if err := errors.Join(err, f.Close()); err != nil {
		return err.Error()
	}
	return string(data)
}
