package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"nixfleet/operator"
)

// newTable gives a table without borders, which reads the same on a terminal and in a pipe.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	t.SetStyle(style)
	t.AppendHeader(header)
	return t
}

func newStatus(s Streams) *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the fleet at a glance: hosts by state, rollouts, holds, quarantines",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				o, err := client.Overview(ctx)
				if err != nil {
					return err
				}
				if conn.asJSON {
					return printJSON(s, o)
				}
				return printOverview(s.Out, &o)
			})
		},
	}
	conn.flags(c)
	conn.watchFlag(c)
	return c
}

func printOverview(w io.Writer, o *operator.Overview) error {
	var states []string
	for _, name := range slices.Sorted(maps.Keys(o.States)) {
		states = append(states, fmt.Sprintf("%d %s", o.States[name], name))
	}
	if len(states) == 0 {
		states = []string{"none in a rollout"}
	}
	if err := say(w, "hosts        %d: %s\nheld         %d\nquarantines  %d\nlog          %d rows, head %s\n\n",
		o.Hosts, strings.Join(states, ", "), o.Held, o.Quarantines, o.LogSeq, o.LogHead); err != nil {
		return err
	}
	return printRollouts(w, o.Rollouts)
}

func newRollouts(s Streams) *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use:   "rollouts",
		Short: "List rollouts and their waves, newest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				list, err := client.Rollouts(ctx)
				if err != nil {
					return err
				}
				if conn.asJSON {
					return printJSON(s, list)
				}
				return printRollouts(s.Out, list)
			})
		},
	}
	conn.flags(c)
	conn.watchFlag(c)
	return c
}

func printRollouts(w io.Writer, list []operator.Rollout) error {
	if len(list) == 0 {
		return say(w, "no rollouts\n")
	}
	t := newTable(w, "rollout", "state", "wave", "hosts", "waiting", "in flight", "converged", "failed", "reverted", "halted by")
	for _, r := range list {
		for i, wave := range r.Waves {
			id, state := "", ""
			if i == 0 {
				id, state = r.RolloutID, r.State
			}
			mark := ""
			if uint32(i) == r.Wave {
				mark = " *"
			}
			inFlight := wave.Dispatched + wave.Activating + wave.Deferred + wave.Soaking
			t.AppendRow(table.Row{id, state, fmt.Sprintf("%d%s", i, mark), wave.Hosts, wave.Waiting, inFlight, wave.Converged, wave.Failed, wave.Reverted, r.HaltedBy})
		}
	}
	t.Render()
	return nil
}

func newHosts(s Streams) *cobra.Command {
	var conn connection
	var rollout string
	c := &cobra.Command{
		Use:   "hosts",
		Short: "List hosts, what they run and where they stand",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				list, err := client.Hosts(ctx, rollout)
				if err != nil {
					return err
				}
				if conn.asJSON {
					return printJSON(s, list)
				}
				t := newTable(s.Out, "host", "rollout", "state", "runs", "last seen", "held", "degraded")
				for _, h := range list {
					t.AppendRow(table.Row{h.Hostname, h.RolloutID, h.State, h.CurrentClosure, timeOrDash(h.LastSeen), h.Held, h.Degraded})
				}
				t.Render()
				return nil
			})
		},
	}
	conn.flags(c)
	conn.watchFlag(c)
	c.Flags().StringVar(&rollout, "rollout", "", "only hosts of this rollout")
	return c
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
