package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

// Version is what this program calls itself.
const Version = "0.1.0"

func newVersion(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return say(s.Out, "nixfleet %s %s/%s\n", Version, runtime.GOOS, runtime.GOARCH)
		},
	}
}
