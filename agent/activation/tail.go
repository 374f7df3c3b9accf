package activation

import (
	"errors"
	"fmt"
	"os"
)

// tailBuffer keeps the last MaxTail bytes written to it. One writer at a time.
type tailBuffer struct{ kept []byte }

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.keep(p)
	return len(p), nil
}

func (b *tailBuffer) keep(p []byte) {
	b.kept = append(b.kept, p[max(0, len(p)-MaxTail):]...)
	if over := len(b.kept) - MaxTail; over > 0 {
		b.kept = append(b.kept[:0], b.kept[over:]...)
	}
}

func (b *tailBuffer) String() string { return Tail(string(b.kept)) }

// tailFile keeps the tail in memory and on disk, where it outlives a helper that is killed. The file holds at most
// maxOutputFile bytes; a program's output must not fill the disk that its rollback needs.
type tailFile struct {
	tailBuffer
	file *os.File
	size int
}

func openTailFile(path string) (*tailFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	return &tailFile{file: f}, nil
}

// Write takes everything and never fails: a full disk must not end the program whose output it is.
func (t *tailFile) Write(p []byte) (int, error) {
	t.say(p)
	return len(p), nil
}

// say is Write for the helper's own words.
func (t *tailFile) say(p []byte) {
	t.keep(p)
	t.spill(p)
}

// spill brings the file up to date. What cannot be written is in memory still, and goes into the result.
func (t *tailFile) spill(p []byte) {
	var err error
	if t.size+len(p) > maxOutputFile {
		_, seekErr := t.file.Seek(0, 0)
		err = errors.Join(t.file.Truncate(0), seekErr)
		p, t.size = t.kept, 0
	}
	n := 0
	if err == nil {
		n, err = t.file.Write(p)
	}
	t.size += n
	if err != nil {
		t.size = maxOutputFile // start over at the next chance
	}
}

func (t *tailFile) Close() error {
	if err := t.file.Close(); err != nil {
		return fmt.Errorf("activation: output: %w", err)
	}
	return nil
}
