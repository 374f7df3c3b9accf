package cli

import (
	"context"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"nixfleet/operator"
)

func newWhy(s Streams) *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use:   "why HOST",
		Short: "Say why a host does not advance, who owns the next step, and when that can change",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				why, err := client.Why(ctx, args[0])
				if err != nil {
					return err
				}
				if conn.asJSON {
					return printJSON(s, why)
				}
				return printWhy(s, &why)
			})
		},
	}
	conn.flags(c)
	conn.watchFlag(c)
	return c
}

func printWhy(s Streams, why *operator.Why) error {
	h := &why.Host
	if err := say(s.Out, "host      %s\nrollout   %s\nstate     %s\nruns      %s\nseen      %s\n",
		h.Hostname, orDash(h.RolloutID), orDash(h.State), orDash(h.CurrentClosure), timeOrDash(h.LastSeen)); err != nil {
		return err
	}
	r := why.Reason
	if r == nil {
		return say(s.Out, "waits     for nothing\n")
	}
	if err := say(s.Out, "waits     %s: %s\nowner     %s\nunblocks  %s\nearliest  %s\n", r.Gate, r.Text, r.Owner, r.Unblocks, timeOrDash(r.Earliest)); err != nil {
		return err
	}
	if !r.StaleAt.IsZero() {
		if err := say(s.Out, "stale at  %s: sign anew with nixfleet release --resign\n", timeOrDash(r.StaleAt)); err != nil {
			return err
		}
	}
	for _, f := range r.Facts {
		if err := say(s.Out, "  %s: %s\n", f.Name, f.Value); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newQuarantine(s Streams) *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use:   "quarantine",
		Short: "List the closures that a channel refuses",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				list, err := client.Quarantines(ctx)
				if err != nil {
					return err
				}
				if conn.asJSON {
					return printJSON(s, list)
				}
				if len(list) == 0 {
					return say(s.Out, "nothing is quarantined\n")
				}
				t := newTable(s.Out, "channel", "closure", "since", "host", "rollout", "log row", "cleared")
				for _, q := range list {
					t.AppendRow(table.Row{q.Channel, q.Closure, timeOrDash(q.At), q.Hostname, q.RolloutID, q.Cause, timeOrDash(q.ClearedAt)})
				}
				t.Render()
				return nil
			})
		},
	}
	conn.flags(c)
	conn.watchFlag(c)
	c.AddCommand(newQuarantineClear(s))
	return c
}

func newQuarantineClear(s Streams) *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use:   "clear CHANNEL CLOSURE",
		Short: "Let a closure go out on a channel again",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				if err := client.ClearQuarantine(ctx, args[0], args[1]); err != nil {
					return err
				}
				return say(s.Out, "%s may go out on %s again\n", args[1], args[0])
			})
		},
	}
	conn.flags(c)
	return c
}

func newClear(s Streams) *cobra.Command {
	var conn connection
	var reason string
	c := &cobra.Command{
		Use:   "clear ROLLOUT",
		Short: "Let a halted rollout go on without the hosts that failed or reverted; a quarantine stays",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				if err := client.ClearRollout(ctx, args[0], reason); err != nil {
					return err
				}
				return say(s.Out, "%s goes on\n", args[0])
			})
		},
	}
	conn.flags(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for the log")
	return c
}

func newUnhold(s Streams) *cobra.Command {
	var conn connection
	c := &cobra.Command{
		Use:   "unhold HOST",
		Short: "End the hold of a host, such as that of two machines with one identity",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				if err := client.ReleaseHost(ctx, args[0]); err != nil {
					return err
				}
				return say(s.Out, "%s is held no longer\n", args[0])
			})
		},
	}
	conn.flags(c)
	return c
}
