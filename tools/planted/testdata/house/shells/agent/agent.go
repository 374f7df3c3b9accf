// Package agent runs shells.
package agent

import "os/exec"

// Run does what a string says.
func Run(line string) error {
	args := []string{"bash", "-ec", line}
	if err := exec.Command("/bin/sh", "-c", line).Run(); err != nil {
		return err
	}
	return exec.Command("systemd-run", args...).Run()
}
