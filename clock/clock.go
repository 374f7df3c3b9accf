// Package clock is the only source of time in the runtimes.
//
// A [Reading] carries three things: the wall clock, for people and for soakDueAt; boot-time, which measures elapsed
// time within one boot, suspend included; and the boot id, which says whether two boot-times may be compared.
// [Elapsed] applies the rule of docs/design/04-agent.md: within one boot boot-time counts, across boots the wall
// difference, never less than zero.
//
// [System] is the real clock. [Process] is the real clock with boot-time counted from its making: in a
// testing/synctest bubble it follows the bubble's time, so runtimes are tested there without waiting. The simulator
// gives readings of its own. All are safe for use from several goroutines.
package clock

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Reading is one look at the clock.
type Reading struct {
	Wall   time.Time     `json:"wall"`     // UTC
	Boot   time.Duration `json:"boottime"` // since boot, suspend included, in nanoseconds
	BootID string        `json:"bootId"`
}

// Elapsed returns the time from one reading to a later one: by boot-time within one boot, by the wall clock across
// boots, never below zero.
func Elapsed(from, to Reading) time.Duration {
	d := to.Boot - from.Boot
	if from.BootID != to.BootID {
		d = to.Wall.Sub(from.Wall)
	}
	return max(d, 0)
}

// Clock gives readings and waits. Runtimes take it as a field; pure code takes the reading as an argument.
type Clock interface {
	Now() Reading
	// NewTimer fires once after d; d <= 0 fires at once.
	NewTimer(d time.Duration) *time.Timer
}

// Sleep waits for d on c, or until ctx ends, whose cause it then returns.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type system struct{ bootID string }

// System returns the machine's clock. It fails where the kernel does not say its boot id.
func System() (Clock, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("clock: read the boot id: %w", err)
	}
	return system{bootID: strings.TrimSpace(string(id))}, nil
}

func (s system) Now() Reading {
	var ts unix.Timespec
	boot := time.Duration(0)
	// CLOCK_BOOTTIME has been there since Linux 2.6.39; a kernel without it counts as freshly booted, which can
	// only lengthen a soak.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err == nil {
		boot = time.Duration(ts.Nano())
	}
	return Reading{Wall: time.Now().UTC().Round(0), Boot: boot, BootID: s.bootID}
}

func (system) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

type process struct {
	start  time.Time
	bootID string
}

// Process returns the real clock with boot-time counted from now under the given boot id.
func Process(bootID string) Clock { return process{start: time.Now(), bootID: bootID} }

func (p process) Now() Reading {
	now := time.Now()
	return Reading{Wall: now.UTC().Round(0), Boot: now.Sub(p.start), BootID: p.bootID}
}

func (process) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }
