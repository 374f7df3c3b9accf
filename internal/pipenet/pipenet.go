// Package pipenet is a network within one process: a listener whose connections are pipes. Goroutines that wait on it
// are durably blocked, so net/http runs over it inside a testing/synctest bubble. Tests only.
//
//	l := pipenet.Listen()
//	go server.Serve(l)
//	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
//
// A Listener may be used by several goroutines. It is tested by the runtimes that use it.
package pipenet

import (
	"context"
	"net"
	"sync"
)

// Listener hands the far end of every dialled pipe to Accept.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen makes a listener. Close it.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and every later dial.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

type address struct{}

func (address) Network() string { return "pipe" }
func (address) String() string  { return "pipe" }

// Addr is the same for all.
func (l *Listener) Addr() net.Addr { return address{} }

// DialContext connects, whatever the address.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
