package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"nixfleet/operator"
)

func newTrace(s Streams) *cobra.Command {
	var conn connection
	var rollout string
	var after uint64
	c := &cobra.Command{
		Use:   "trace [HOST]",
		Short: "Print the event log of a host, a rollout or both, oldest first",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			host := ""
			if len(args) == 1 {
				host = args[0]
			}
			if host == "" && rollout == "" {
				return usage("name a host, a rollout (--rollout), or both")
			}
			rows := 0
			err := conn.show(c.Context(), func(ctx context.Context, client *operator.Client) error {
				return client.Trace(ctx, host, rollout, after, func(row json.RawMessage) error {
					rows++
					if conn.asJSON {
						return say(s.Out, "%s\n", row)
					}
					return printRow(s, row)
				})
			})
			if err == nil && rows == 0 {
				return &coded{ExitNo, errNo}
			}
			return err
		},
	}
	conn.flags(c)
	c.Flags().StringVar(&rollout, "rollout", "", "only rows of this rollout")
	c.Flags().Uint64Var(&after, "after", 0, "only rows behind the one with this seq")
	return c
}

// logRow is what a person wants to see of a row.
type logRow struct {
	Seq       uint64          `json:"seq"`
	At        string          `json:"at"`
	Kind      string          `json:"kind"`
	Host      string          `json:"host"`
	RolloutID string          `json:"rolloutId"`
	EventSeq  uint64          `json:"eventSeq"`
	Flags     []string        `json:"flags"`
	Payload   json.RawMessage `json:"payload"`
}

func printRow(s Streams, raw json.RawMessage) error {
	var row logRow
	if err := json.Unmarshal(raw, &row); err != nil {
		return reach(err)
	}
	detail, err := eventFields(row.Payload)
	if err != nil {
		return reach(err)
	}
	flags := ""
	if len(row.Flags) > 0 {
		flags = " [" + strings.Join(row.Flags, ", ") + "]"
	}
	return say(s.Out, "%-6d %-24s %-12s %-24s %-24s%s %s\n", row.Seq, row.At, orDash(row.Host), orDash(row.RolloutID), row.Kind, flags, detail)
}

// eventFields gives the fields of the row's event, or of whatever else its payload is, without what the columns say.
func eventFields(payload json.RawMessage) (string, error) {
	var envelope struct {
		Event json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(payload, &envelope); err != nil {
		return "", err
	}
	body := payload
	if envelope.Event != nil {
		body = envelope.Event
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &fields); err != nil {
		return string(body), nil // not an object: shown as it is
	}
	delete(fields, "kind")
	data, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(data)), nil
}
