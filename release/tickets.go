package release

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nixfleet/fleet"
	"nixfleet/strictjson"
	"nixfleet/trust"
)

// maxTicketLine bounds one line of a file of tickets: a ticket, its signature and what stands around them.
const maxTicketLine = fleet.MaxTicket + 1024

// Tickets is an open file of tickets with an index of where each host's is: one is read and parsed, not all of them.
// It keeps reading the file it opened when a release replaces it. Reading is safe from several goroutines.
type Tickets struct {
	file  *os.File
	index []ticketAt // sorted by hostname
}

type ticketAt struct {
	hostname string
	offset   int64
	length   int
}

// Tickets opens the tickets of a rollout and indexes them. Errors are of class [ErrNotFound] if there are none, or
// [ErrTickets]. The caller closes it.
func (d *Dir) Tickets(id fleet.RolloutID) (*Tickets, error) {
	path := TicketsPath(id)
	f, err := os.Open(filepath.Join(d.root, filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	index, err := indexTickets(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &Tickets{file: f, index: index}, nil
}

// Ticket reads the ticket of one host in one rollout, for a caller who wants no other.
func (d *Dir) Ticket(id fleet.RolloutID, hostname string) (doc Document, err error) {
	t, err := d.Tickets(id)
	if err != nil {
		return Document{}, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return t.Ticket(hostname)
}

func indexTickets(r io.Reader) ([]ticketAt, error) {
	var (
		index  []ticketAt
		offset int64
		lines  = bufio.NewReaderSize(r, maxTicketLine+1)
	)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if errors.Is(err, io.EOF) {
			_, err = parseTicketLine(line) // without its line feed it may have been cut off
		} else if err != nil {
			err = fmt.Errorf("%w: no end within %d bytes", ErrTickets, maxTicketLine)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(index)+1, err)
		}
		hostname, err := hostnameOf(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(index)+1, err)
		}
		if len(index) == fleet.MaxHosts {
			return nil, fmt.Errorf("%w: more than %d lines", ErrTickets, fleet.MaxHosts)
		}
		index = append(index, ticketAt{hostname, offset, len(line)})
		offset += int64(len(line))
	}
	byHostname := func(a, b ticketAt) int { return strings.Compare(a.hostname, b.hostname) }
	if !slices.IsSortedFunc(index, byHostname) {
		slices.SortStableFunc(index, byHostname)
	}
	for i := 1; i < len(index); i++ {
		if index[i-1].hostname == index[i].hostname {
			return nil, fmt.Errorf("%w: two tickets of host %q", ErrTickets, index[i].hostname)
		}
	}
	return index, nil
}

// hostnameOf finds the host a line is for. Our own lines have one form, which is read without parsing; any other line
// is parsed.
func hostnameOf(line []byte) (string, error) {
	if name, ok := hostnameOfOwn(line); ok {
		return name, nil
	}
	doc, err := parseTicketLine(line)
	if err != nil {
		return "", err
	}
	v, err := strictjson.Parse(doc.Raw, strictjson.DefaultLimits)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTickets, err)
	}
	o := v.Object()
	name := o.String("hostname")
	if err := o.Err(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrTickets, err)
	}
	return name, nil
}

// hostnameOfOwn reads the canonical beginning of a ticket: channel, fleetHash, freshnessSeconds, hostname.
func hostnameOfOwn(line []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"ticket":{"channel":"`))
	if !ok {
		return "", false
	}
	for _, next := range []string{`","fleetHash":"`, `","freshnessSeconds":`, `,"hostname":"`} {
		end := bytes.IndexAny(rest, `",\`)
		if end < 0 {
			return "", false
		}
		if rest, ok = bytes.CutPrefix(rest[end:], []byte(next)); !ok {
			return "", false
		}
	}
	end := bytes.IndexAny(rest, `"\`)
	if end < 0 || rest[end] != '"' {
		return "", false
	}
	return string(rest[:end]), true
}

func parseTicketLine(line []byte) (Document, error) {
	v, err := strictjson.Parse(line, strictjson.Limits{Bytes: maxTicketLine, Depth: strictjson.DocumentLimits.Depth + 1})
	if err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrTickets, err)
	}
	o := v.Object()
	ticket, text := o.Object("ticket"), o.String("sig")
	if err := o.Err(); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrTickets, err)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(sig) != trust.SignatureSize {
		return Document{}, fmt.Errorf("%w: sig is not base64 of %d bytes", ErrTickets, trust.SignatureSize)
	}
	return Document{Raw: slices.Clone(ticket.Raw()), Sig: sig}, nil
}

// appendTicketLine writes the form that hostnameOfOwn knows.
func appendTicketLine(dst []byte, doc Document) []byte {
	dst = append(dst, `{"ticket":`...)
	dst = append(dst, doc.Raw...)
	dst = append(dst, `,"sig":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, doc.Sig)
	return append(dst, "\"}\n"...)
}

// Len returns how many tickets there are.
func (t *Tickets) Len() int { return len(t.index) }

// Hosts gives the names of the hosts that have a ticket, sorted.
func (t *Tickets) Hosts() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range t.index {
			if !yield(t.index[i].hostname) {
				return
			}
		}
	}
}

// Ticket reads the ticket of a host, not verified. Errors are of class [ErrNotFound] if there is none, or [ErrTickets].
func (t *Tickets) Ticket(hostname string) (Document, error) {
	i, ok := slices.BinarySearchFunc(t.index, hostname, func(e ticketAt, name string) int { return strings.Compare(e.hostname, name) })
	if !ok {
		return Document{}, fmt.Errorf("%w: ticket of host %q", ErrNotFound, hostname)
	}
	return t.at(t.index[i])
}

func (t *Tickets) at(e ticketAt) (Document, error) {
	line := make([]byte, e.length)
	if _, err := t.file.ReadAt(line, e.offset); err != nil {
		return Document{}, fmt.Errorf("release: ticket of host %q: %w", e.hostname, err)
	}
	return parseTicketLine(line)
}

// All gives every ticket in order of host, or the error that ends it.
func (t *Tickets) All() iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for _, e := range t.index {
			doc, err := t.at(e)
			if !yield(doc, err) || err != nil {
				return
			}
		}
	}
}

// Close closes the file.
func (t *Tickets) Close() error {
	if err := t.file.Close(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}
