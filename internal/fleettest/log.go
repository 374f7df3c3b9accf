package fleettest

import (
	"bytes"
	"sync"
)

// Log keeps what a part says. Any number of goroutines may write to it.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is all of it.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Has says whether any of it is text.
func (l *Log) Has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text))
}

// Tail is the end of it, for a test that failed.
func (l *Log) Tail() string {
	const most = 24 << 10
	s := l.String()
	return s[max(0, len(s)-most):]
}
