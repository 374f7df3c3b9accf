package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"nixfleet/keydir"
	"nixfleet/operator"
)

// Options say what the demo is to show.
type Options struct {
	Hosts int    // 2 to MaxHosts
	Once  bool   // end when the story has been told; otherwise stay up until ctx ends
	JSON  bool   // one line per transition and nothing else
	Chaos bool   // real processes, killed during the second release at moments that Seed chooses
	Seed  uint64 // of the chaos
	Port  int    // of the control plane, 0: any free one
	Keep  string // folder to leave everything in, "": a temporary one that is removed

	Terminal bool // Out is a terminal
	Out, Err io.Writer
}

// MaxHosts bounds a demo: each host is an agent, a service and some files on this one machine.
const MaxHosts = 500

// ErrOptions is the class of options that make no demo.
var ErrOptions = errors.New("demo: options")

// Run shows the demo. It returns nil only if every release ended exactly as it must.
func Run(ctx context.Context, o Options) (err error) {
	if o.Hosts < 2 || o.Hosts > MaxHosts {
		return fmt.Errorf("%w: %d hosts, want 2 to %d", ErrOptions, o.Hosts, MaxHosts)
	}
	dir, remove, err := folder(o.Keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
	if err != nil {
		return fmt.Errorf("demo: control plane: %w", err)
	}
	address := listener.Addr().String()
	w, err := newWorld(dir, o.Hosts, "https://"+address, time.Now())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, w.stopServices()) }()
	print := &printer{out: o.Out, json: o.JSON, colour: o.Terminal, start: time.Now()}
	var cast company = newInProcess(w, listener, logger(o))
	if o.Chaos {
		if err := listener.Close(); err != nil { // the process binds it again, each time it is started
			return err
		}
		if cast, err = newProcesses(w, address, o.Seed, print); err != nil {
			return err
		}
	}
	return perform(ctx, o, w, cast, print, address)
}

// company is whoever runs the control plane and the agents.
type company interface {
	// start starts everything. It returns when all of it runs.
	start(ctx context.Context) error
	// during is run beside the second release, nil if there is nothing to do.
	during() func(ctx context.Context) error
	// stop ends everything and waits for it. It returns the first thing that ended by itself.
	stop() error
}

func perform(ctx context.Context, o Options, w *world, cast company, print *printer, address string) (err error) {
	base := keydir.Operator("demo")
	client, err := operator.NewClient("https://"+address, filepath.Join(w.keys(), base+".pem"), filepath.Join(w.keys(), base+".key"),
		filepath.Join(w.keys(), keydir.ServerCA+".pem"))
	if err != nil {
		return err
	}
	defer client.Close()
	print.chapter("nixfleet demo: a control plane and %d hosts in %s", o.Hosts, w.dir)
	defer func() { err = errors.Join(err, cast.stop()) }()
	if err := cast.start(ctx); err != nil {
		return err
	}
	print.note("control plane at https://%s, %d agents started", address, o.Hosts)
	s := &story{world: w, client: client, print: print, during: cast.during(), limit: limitFor(o.Hosts)}
	if err := s.tell(ctx); err != nil {
		return err
	}
	if !o.Once && !o.JSON {
		print.chapter("Everything still runs. Look at it, and end it with Ctrl-C:")
		print.write("  go run ./cmd/nixfleet status --url https://%s --keys %s --operator demo\n", address, w.keys())
		print.write("  go run ./cmd/nixfleet trace %s --url https://%s --keys %s --operator demo\n", w.hosts[0].name, address, w.keys())
	}
	if !o.Once {
		<-ctx.Done()
	}
	return print.failed()
}

// limitFor bounds one release: the soaks and failures of three waves, and half a second of two busy cores per host.
func limitFor(hosts int) time.Duration {
	return 60*time.Second + time.Duration(hosts)*500*time.Millisecond
}

// folder makes the folder that everything is in, and says how to remove it.
func folder(keep string) (dir string, remove func() error, err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "nixfleet-demo-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	dir, err = filepath.Abs(keep)
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("demo: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, fmt.Errorf("demo: %w", err)
	}
	if len(entries) > 0 {
		return "", nil, fmt.Errorf("%w: the folder %s is not empty", ErrOptions, dir)
	}
	return dir, func() error { return nil }, nil
}

// logger keeps the logs of both sides out of the story: only errors go to the error stream.
func logger(o Options) *slog.Logger {
	if o.Err == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(o.Err, &slog.HandlerOptions{Level: slog.LevelError}))
}
