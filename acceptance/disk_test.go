package acceptance_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nixfleet/host"
	"nixfleet/internal/fleettest"
	"nixfleet/operator"
)

func TestOnAFullDiskAnAgentReportsDegradedAndItsVerdictCommitsWhenSpaceReturns(t *testing.T) {
	t.Parallel()
	s, _ := settled(t, "a")
	a := s.Host("a")
	a.Stop()
	a.StartProcess()
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: s.Build("v2"), Soak: 3})
	untilLogged(a, s, id, "ProbeResult")
	a.FullDisk(true)
	s.UntilHost("a", "is degraded", func(h operator.Host) bool { return strings.Contains(h.Degraded, "journal") })
	s.While("the disk is full", 2*time.Second, func(ctx context.Context) (string, error) {
		w, err := s.Operator().Why(ctx, "a")
		if err == nil && w.Host.State != "Soaking" {
			return "it is " + w.Host.State, nil
		}
		return "", err
	})
	if !a.Log().Has("a commit failed") {
		t.Error("the agent's log does not name it")
	}
	a.FullDisk(false)
	s.UntilRollout(id, "Terminal")
	s.UntilHost("a", "is degraded no longer", func(h operator.Host) bool { return h.Degraded == "" })
	a.UntilLogged()
	a.UntilMirrored()
}

func TestOnAFullFileSystemAVerdictAndItsRollbackStillCommit(t *testing.T) {
	t.Parallel()
	s, v1 := settled(t, "a")
	a := s.Host("a")
	a.Stop()
	backup := a.CopyState()
	onSmallDisk(t, a)
	a.RestoreState(backup)
	a.Start()
	v2 := s.BuildBroken("v2")
	id := s.Publish(fleettest.Release{Ref: "v2", Closure: v2, Soak: 30})
	a.UntilState(id, host.Soaking)
	fill(t, filepath.Join(a.StateDir(), "ballast"))
	a.UntilState(id, host.Reverted)
	if got := a.Runs(); got != v1 {
		t.Errorf("it runs %s, want %s", got, v1)
	}
	s.UntilRollout(id, "Reverted")
	a.UntilLogged()
	a.UntilMirrored()
	if got := quarantined(s); !slices.Contains(got, v2) {
		t.Errorf("quarantined: %v", got)
	}
}

// onSmallDisk puts the agent's state on a file system of its own, with little more room than the agent keeps back.
func onSmallDisk(t *testing.T, h *fleettest.Host) {
	t.Helper()
	err := unix.Mount("tmpfs", h.StateDir(), "tmpfs", 0, "size=6m,mode=0700")
	if errors.Is(err, unix.EPERM) {
		t.Skip("this user may not mount a tmpfs")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Stop()
		if err := unix.Unmount(h.StateDir(), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill writes a file until there is no room left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	page := bytes.Repeat([]byte{'x'}, os.Getpagesize())
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
