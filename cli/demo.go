package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"nixfleet/demo"
)

func newDemo(s Streams) *cobra.Command {
	o := demo.Options{Out: s.Out, Err: s.Err, Terminal: onTerminal(s.Out)}
	var chaos string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on this machine: a good release, a canary, and a broken one that takes itself back",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if chaos != "" {
				seed, err := strconv.ParseUint(chaos, 10, 64)
				if err != nil {
					return usage("--chaos %q, want a seed: a number from 0 to 18446744073709551615", chaos)
				}
				o.Chaos, o.Seed = true, seed
			}
			err := demo.Run(c.Context(), o)
			if errors.Is(err, demo.ErrOptions) {
				return &coded{ExitUsage, err}
			}
			if err == nil && o.Once && !o.JSON {
				return say(s.Out, "\nThe ending is exactly what it must be.\n")
			}
			return refused(err)
		},
	}
	f := c.Flags()
	f.IntVar(&o.Hosts, "hosts", 5, fmt.Sprintf("how many hosts, 2 to %d", demo.MaxHosts))
	f.BoolVar(&o.Once, "once", false, "end when the story is told, with 0 only if it ended exactly as it must")
	f.BoolVar(&o.JSON, "json", false, "print one JSON line per transition and nothing else")
	f.StringVar(&chaos, "chaos", "", "run real processes and kill them at moments that this seed chooses")
	f.IntVar(&o.Port, "port", 0, "port of the control plane on loopback (any free one)")
	f.StringVar(&o.Keep, "keep", "", "empty folder to leave everything in")
	return c
}
