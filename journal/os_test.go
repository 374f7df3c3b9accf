package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"nixfleet/journal"
)

const holderEnv = "NIXFLEET_JOURNAL_TEST_HOLD"

// TestMain makes the test binary a second agent when it is asked to be one:
// it opens the journal, says so and holds it until it is killed.
func TestMain(m *testing.M) {
	held := os.Getenv(holderEnv)
	if held == "" {
		os.Exit(m.Run())
	}
	j, _, err := journal.Open(journal.Options{Dir: held})
	if err == nil {
		_, err = j.Append([]byte(`{"by":"holder"}`))
	}
	fmt.Println("held:", err)
	if err != nil {
		os.Exit(1)
	}
	if _, err := bufio.NewReader(os.Stdin).ReadByte(); err != nil {
		os.Exit(2)
	}
}

func TestASecondAgentIsRefusedByProcessIDUntilTheHolderIsKilled(t *testing.T) {
	held := filepath.Join(t.TempDir(), "state", "journal")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderEnv+"="+held)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	if line != "held: <nil>\n" {
		t.Fatalf("the holder says %q", line)
	}
	_, _, err = journal.Open(journal.Options{Dir: held})
	var locked *journal.LockedError
	if !errors.Is(err, journal.ErrLocked) || !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Fatalf("got %v, the holder is %d", err, cmd.Process.Pid)
	}
	damage, err := journal.ReadDir(held, nil, func(f journal.Frame) error { return nil })
	if err != nil || len(damage) > 0 {
		t.Errorf("reading beside the holder: %v, %v", damage, err)
	}
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("the killed holder exited by itself")
	}
	j, opened, err := journal.Open(journal.Options{Dir: held})
	must(t, err)
	got, err := read(j, opened)
	must(t, err)
	if !got.equal(content{commits: []string{`{"by":"holder"}`}}) {
		t.Errorf("got %q", got)
	}
	if _, _, err := journal.Open(journal.Options{Dir: held}); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("a second opening in one process: %v", err)
	}
	must(t, j.Close())
}

func TestOnARealDiskTheWorkloadIsThereAfterReopeningAndFilesArePrivate(t *testing.T) {
	real := filepath.Join(t.TempDir(), "journal")
	o := journal.Options{Dir: real, SegmentBytes: 250, ReserveBytes: 1 << 16, Schema: 1}
	var w workload
	must(t, w.open(o))
	must(t, w.run(40))
	must(t, w.j.Close())
	j, opened, err := journal.Open(o)
	must(t, err)
	defer func() { must(t, j.Close()) }()
	got, err := read(j, opened)
	must(t, err)
	if !got.equal(w.content()) || len(opened.Damage) > 0 || opened.Torn != 0 {
		t.Errorf("got %q, opened %+v", got, opened)
	}
	info, err := os.Stat(real)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v", info.Mode())
	}
	entries, err := os.ReadDir(real)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		if e.Name() == "reserve" && info.Size() != 1<<16 {
			t.Errorf("the reserve has %d bytes", info.Size())
		}
	}
}

func TestADirectoryOpenToOthersIsTightenedUnlessItHoldsOtherThings(t *testing.T) {
	wide := t.TempDir()
	must(t, os.Chmod(wide, 0o755))
	j, _, err := journal.Open(journal.Options{Dir: wide})
	must(t, err)
	must(t, j.Close())
	info, err := os.Stat(wide)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %v", info.Mode())
	}
	other := t.TempDir()
	must(t, os.Chmod(other, 0o755))
	must(t, os.WriteFile(filepath.Join(other, "passwd"), nil, 0o600))
	if _, _, err := journal.Open(journal.Options{Dir: other}); !errors.Is(err, journal.ErrWideDirectory) {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeIsRefusedByName(t *testing.T) {
	if _, _, err := journal.Open(journal.Options{}); !errors.Is(err, journal.ErrOptions) {
		t.Errorf("no directory: %v", err)
	}
	j, _, err := journal.Open(journal.Options{Dir: t.TempDir()})
	must(t, err)
	big := make([]byte, journal.MaxPayload+1)
	if _, err := j.Append(big); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("a large payload: %v", err)
	}
	if err := j.Rotate(big); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("a large snapshot: %v", err)
	}
	if err := j.Remove(1); !errors.Is(err, journal.ErrActive) {
		t.Errorf("removing the active segment: %v", err)
	}
	if err := j.Rewrite(7, nil); !errors.Is(err, journal.ErrNoSegment) {
		t.Errorf("rewriting no segment: %v", err)
	}
	must(t, j.Close())
	must(t, j.Close())
	if _, err := j.Append(nil); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
