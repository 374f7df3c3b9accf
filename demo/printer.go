package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// printer tells the story: for people with colours on a terminal and without elsewhere, or one JSON line per
// transition. Several goroutines may use one.
type printer struct {
	mu     sync.Mutex
	out    io.Writer
	json   bool
	colour bool
	start  time.Time
	err    error // the first one of writing
}

// colours of the states that matter, as terminals know them.
var stateColour = map[string]string{
	"Converged": "\x1b[32m", "Soaking": "\x1b[36m", "Failed": "\x1b[31m", "Reverted": "\x1b[33m", "Activating": "\x1b[34m",
}

const (
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

func (p *printer) write(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}

func (p *printer) paint(colour, text string) string {
	if !p.colour || colour == "" {
		return text
	}
	return colour + text + plain
}

// chapter begins a part of the story.
func (p *printer) chapter(format string, args ...any) {
	if !p.json {
		p.write("\n%s\n", p.paint(bold, fmt.Sprintf(format, args...)))
	}
}

// note says something on the way.
func (p *printer) note(format string, args ...any) {
	if !p.json {
		p.write("%6.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
	}
}

// result says what was checked.
func (p *printer) result(format string, args ...any) {
	if !p.json {
		p.write("   ok    %s\n", fmt.Sprintf(format, args...))
	}
}

func (p *printer) transition(t Transition) {
	if p.json {
		line, err := json.Marshal(t)
		if err != nil {
			p.fail(err)
			return
		}
		p.write("%s\n", line)
		return
	}
	p.write("%6.1fs  %-8s %-12s %-10s -> %s\n", time.Since(p.start).Seconds(), t.Host, t.RolloutID, t.From,
		p.paint(stateColour[t.To], t.To))
}

func (p *printer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// failed returns the first error of writing: a story nobody hears has not been told.
func (p *printer) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
