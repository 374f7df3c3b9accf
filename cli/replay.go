package cli

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"nixfleet/replay"
	"nixfleet/wire"
)

func newReplay(s Streams) *cobra.Command {
	var verify bool
	c := &cobra.Command{
		Use:   "replay DIR|FILE|-",
		Short: "Run a recorded log through the state machine and print every step",
		Long: `Run a recorded log through the state machine and print every step.

DIR is an agent's state directory, or a copy of it: nothing is changed and no lock is taken. At the end the records
are printed as the journal has them; --verify also holds every one of them against what this program makes of the
events, bit for bit, and exits 1 where they differ.

FILE or - is JSON lines: {"state": record, "policy": {...}} starts a record, {"event": {"kind": ..., "seq": 1}} or
{"wire": envelope} steps it. Exit 3 if any line was malformed; a refusal is not an error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "-" {
				return replayLines(s, s.In)
			}
			info, err := os.Stat(args[0])
			if err != nil {
				return reach(err)
			}
			if info.IsDir() {
				return replayJournal(s, args[0], verify)
			}
			if verify {
				return usage("--verify is for an agent's journal: JSON lines record no results to compare with")
			}
			f, err := os.Open(args[0])
			if err != nil {
				return reach(err)
			}
			return errors.Join(replayLines(s, f), reach(f.Close()))
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "compare with what was recorded; exit 1 if anything differs")
	return c
}

func replayLines(s Streams, in io.Reader) error {
	malformed, err := replay.JSONL(in, s.Out)
	switch {
	case err != nil:
		return reach(err)
	case malformed:
		return reach(errors.New("at least one line was malformed"))
	}
	return nil
}

func replayJournal(s Streams, dir string, verify bool) error {
	report, err := replay.Journal(dir, s.Out, verify)
	if err != nil {
		return reach(err)
	}
	for _, id := range slices.Sorted(maps.Keys(report.Rollouts)) {
		record := report.Rollouts[id]
		if err := say(s.Out, "%s\n", wire.AppendRecord(nil, &record)); err != nil {
			return err
		}
	}
	if err := say(s.Err, "%d steps, %d differ, %d commits unread, %d damaged places\n",
		report.Steps, report.Differ, report.Unread, len(report.Damage)); err != nil {
		return err
	}
	if verify && !report.Verified() {
		return &coded{ExitNo, errNo}
	}
	return nil
}
