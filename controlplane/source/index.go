package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"nixfleet/fleet"
)

// indexTickets finds the line of every host in a file of tickets. Reading is cheaper than verifying by far: a line's
// host name is taken as it is said, and whoever reads the ticket verifies that it is that host's.
func indexTickets(r io.ReadSeeker) (map[string]span, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	lines := map[string]span{}
	buf := bufio.NewReaderSize(r, maxTicketLine+1)
	for offset := int64(0); ; {
		line, err := buf.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("the line at byte %d is longer than %d bytes", offset, maxTicketLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(line) > 1 {
			_, hostname, err := parseTicketLine(line)
			if err != nil {
				return nil, fmt.Errorf("the line at byte %d: %w", offset, err)
			}
			lines[hostname] = span{offset, int64(len(line))}
			if len(lines) > fleet.MaxHosts {
				return nil, fmt.Errorf("more than %d hosts", fleet.MaxHosts)
			}
		}
		offset += int64(len(line))
		if err != nil {
			return lines, nil
		}
	}
}
