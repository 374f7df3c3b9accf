package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"nixfleet/host"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// MaxLine bounds one line of JSONL, in bytes without its end: a record with every probe a host may have, each with the
// longest reason nixfleet makes, fits five times over. A longer line is malformed; it is skipped, never held.
const MaxLine = wire.MaxBody

// errMalformed is the error of a line that means nothing, as the output names it.
const errMalformed = "malformed"

// JSONL reads lines from r and writes to w what each does, one line each but for blank lines and for state lines that
// are accepted, which write nothing. malformed says whether any line meant nothing; a refusal by host.Step is not an
// error. err is an error of r or w. Output is flushed whenever no more input is waiting, so that a program can hold a
// conversation. Implements docs/design/08-operating-and-proving.md, section 8.1.
func JSONL(r io.Reader, w io.Writer) (malformed bool, err error) {
	s := session{in: bufio.NewReaderSize(r, 64<<10), out: bufio.NewWriter(w)}
	for {
		line, tooLong, err := readLine(s.in)
		if err != nil && !errors.Is(err, io.EOF) {
			return s.malformed, fmt.Errorf("replay: read a line: %w", err)
		}
		if answer := s.line(line, tooLong); answer != nil {
			if _, err := s.out.Write(append(answer, '\n')); err != nil {
				return s.malformed, fmt.Errorf("replay: write an answer: %w", err)
			}
		}
		if err != nil || s.in.Buffered() == 0 {
			if err := s.out.Flush(); err != nil {
				return s.malformed, fmt.Errorf("replay: write an answer: %w", err)
			}
		}
		if err != nil {
			return s.malformed, nil
		}
	}
}

// session is one conversation: the record as it stands and the policy that rules it.
type session struct {
	in        *bufio.Reader
	out       *bufio.Writer
	record    *host.Record // nil before the first state line and after a malformed one
	policy    host.Policy
	malformed bool
}

// readLine reads one line without its end. Of a line beyond MaxLine it keeps the first MaxLine bytes, which may still
// tell what kind of line it was. The error is io.EOF with the last line.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		part = bytes.TrimSuffix(part, []byte("\n"))
		if room := MaxLine - len(line); len(part) > room {
			part, tooLong = part[:room], true
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// line takes one line and gives its answer, nil if there is none to give.
func (s *session) line(line []byte, tooLong bool) []byte {
	if len(bytes.Trim(line, " \t\r")) == 0 {
		return nil
	}
	answer, err := s.take(line, tooLong)
	if err != nil {
		s.malformed = true
		return failure(errMalformed, err.Error())
	}
	return answer
}

func (s *session) take(line []byte, tooLong bool) ([]byte, error) {
	if tooLong {
		s.forgetIfState(line)
		return nil, fmt.Errorf("replay: a line beyond %d bytes", MaxLine)
	}
	v, err := strictjson.Parse(line, strictjson.Limits{Bytes: MaxLine, Depth: strictjson.DefaultLimits.Depth})
	if err != nil {
		s.forgetIfState(line)
		return nil, err
	}
	o := v.Object()
	if o.Defined("state") {
		s.record = nil
	}
	count := 0
	for _, key := range []string{"state", "event", "wire"} {
		if o.Defined(key) {
			count++
		}
	}
	if count != 1 {
		o.Fail("", "want exactly one of state, event and wire, got %d", count)
	}
	if err := o.Err(); err != nil {
		return nil, err
	}
	switch {
	case o.Defined("state"):
		return nil, s.start(o)
	case s.record == nil:
		return nil, errors.New("replay: there is no record: no state line before this one, or a malformed one")
	}
	return s.event(o)
}

// forgetIfState drops the record if a line that could not be read was meant to start another one: to go on with the
// old one would give answers about the wrong record.
func (s *session) forgetIfState(line []byte) {
	if meantAsState(line) {
		s.record = nil
	}
}

// start takes a state line.
func (s *session) start(o *strictjson.Object) error {
	record, err := wire.DecodeRecord(o.Object("state"))
	if err != nil {
		return err
	}
	policy, err := wire.DecodePolicy(o.Object("policy"))
	if err != nil {
		return err
	}
	s.record, s.policy = &record, policy
	return nil
}

// event takes an event line or a wire line.
func (s *session) event(o *strictjson.Object) ([]byte, error) {
	var (
		now = o.OptTime("now")
		in  host.Stamped
		err error
	)
	if o.Defined("wire") {
		in, err = s.envelope(o)
	} else {
		in, err = wire.DecodeNamedEvent(o.Object("event"))
	}
	if err != nil {
		return nil, err
	}
	return s.step(in, now), nil
}

// envelope reads a wire line as the control plane would read what a host sent.
func (s *session) envelope(o *strictjson.Object) (host.Stamped, error) {
	inner := o.Object("wire")
	e, err := wire.DecodeEnvelopeObject(inner)
	if err != nil {
		return host.Stamped{}, err
	}
	if e.Hostname != s.record.Hostname || e.RolloutID != s.record.RolloutID {
		inner.Fail("", "of host %q in rollout %q, the record is of %q in %q", e.Hostname, e.RolloutID, s.record.Hostname, s.record.RolloutID)
		return host.Stamped{}, inner.Err()
	}
	return host.Stamped{Origin: host.Remote, Seq: e.Seq, Event: e.Event}, nil
}

// step takes the event on the record and gives the answer.
func (s *session) step(in host.Stamped, now time.Time) []byte {
	next, effects, err := host.Step(*s.record, in, now, s.policy)
	var refusal *host.Refusal
	if errors.As(err, &refusal) {
		return failure(refusal.Class.Error(), refusal.Detail)
	}
	if err != nil {
		s.malformed = true
		return failure(errMalformed, err.Error())
	}
	s.record = &next
	answer := append([]byte(nil), `{"ok":true,"state":`...)
	answer = wire.AppendRecord(answer, &next)
	answer = append(answer, `,"effects":[`...)
	for i, e := range effects.All() {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = wire.AppendEffect(answer, e)
	}
	return append(answer, "]}"...)
}

func failure(class, detail string) []byte {
	answer := append([]byte(nil), `{"ok":false,"error":`...)
	answer = wire.AppendString(answer, class)
	answer = append(answer, `,"detail":`...)
	answer = wire.AppendString(answer, detail)
	return append(answer, '}')
}
