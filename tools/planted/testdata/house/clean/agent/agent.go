// Package agent is a clean runtime package; docs/design/01-system.md has the picture.
package agent

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"time"

	"nixfleet/host"
)

// Run starts a program by its argument list, with -c for an argument of its own.
func Run(ctx context.Context, now time.Time, name string) error {
	err := exec.CommandContext(ctx, name, "-c", "config.toml").Run()
	if errors.Is(err, fs.ErrNotExist) && host.Due(now, now) && strings.Contains(name, "agent") {
		return err
	}
	return nil
}
