package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// The exit codes of every command.
const (
	ExitDone  = 0
	ExitNo    = 1 // the answer is no
	ExitUsage = 2
	ExitReach = 3 // could not reach or read
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// errNo is the class of "the answer is no": the command worked and said why on the output.
var errNo = errors.New("no")

// errUsage is the class of arguments that cannot be understood.
var errUsage = errors.New("usage")

// coded is an error with its exit code.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// reach marks err as "could not reach or read".
func reach(err error) error {
	if err == nil {
		return nil
	}
	return &coded{ExitReach, err}
}

// refused marks err as "the answer is no".
func refused(err error) error {
	if err == nil {
		return nil
	}
	return &coded{ExitNo, err}
}

// Run carries out one command line, without the program's name, and returns its exit code.
func Run(ctx context.Context, args []string, s Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	if errors.Is(err, errNo) {
		return ExitNo
	}
	fmt.Fprintf(s.Err, "nixfleet: %s\n", strings.TrimSpace(err.Error()))
	var c *coded
	if errors.As(err, &c) {
		return c.code
	}
	if errors.Is(err, context.Canceled) {
		return ExitReach
	}
	return ExitUsage
}

func newRoot(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "nixfleet",
		Short:         "Move a fleet of Linux hosts to a signed desired state, and back where it is not healthy",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetIn(s.In)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newReplay(s), newKeys(s), newRelease(s), newDemo(s), newStatus(s), newHosts(s),
		newRollouts(s), newTrace(s), newWhy(s), newQuarantine(s), newClear(s), newUnhold(s), newVersion(s))
	return root
}

// onTerminal says whether w is a terminal, where progress may be drawn.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// usage gives an error about how the command was called.
func usage(format string, args ...any) error {
	return &coded{ExitUsage, fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))}
}
