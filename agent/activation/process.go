package activation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"nixfleet/clock"
)

// process says which process a unit is. A process id alone is given to somebody else one day; with the time of its
// start, in clock ticks since boot, and the boot, it is one process for ever.
type process struct {
	Unit    string        `json:"unit"`
	Closure string        `json:"closure"`
	PID     int           `json:"pid"`
	Ticks   uint64        `json:"startTicks"`
	Started clock.Reading `json:"started"` // bootId included
}

// errGone: there is no such process, or it has ended and only waits to be reaped.
var errGone = errors.New("activation: no such process")

// startTicks reads when a process started, in clock ticks since boot.
func startTicks(pid int) (uint64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	// The name is in parentheses and may hold anything, so fields are counted from behind its end.
	_, rest, found := bytes.Cut(data[max(0, bytes.LastIndexByte(data, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	const state, threads, started = 0, 17, 19 // fields 3, 20 and 22 of proc_pid_stat(5)
	if !found || len(fields) <= started {
		return 0, fmt.Errorf("activation: /proc/%d/stat is not as expected", pid)
	}
	// A process whose first thread has ended looks like a zombie while others still end, and until the last has, its
	// files, and with them the switch lock, are open.
	if fields[state] == "X" || fields[state] == "Z" && (fields[threads] == "0" || fields[threads] == "1") {
		return 0, errGone
	}
	ticks, err := strconv.ParseUint(fields[started], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("activation: /proc/%d/stat: %w", pid, err)
	}
	return ticks, nil
}

// alive says whether this very process still runs, in the boot it was started in.
func (p process) alive(bootID string) (bool, error) {
	if p.PID <= 1 || p.Started.BootID != bootID { // 0 and 1 are never ours, and negative ids mean groups
		return false, nil
	}
	ticks, err := startTicks(p.PID)
	if errors.Is(err, errGone) {
		return false, nil
	}
	return err == nil && ticks == p.Ticks, err
}

// Bounds of what is read back of a unit, so that nothing written there can fill the agent's memory.
const (
	maxUnitFile   = 64 << 10 // result.json: MaxTail of output, each byte at most six in JSON, and little else
	maxOutputFile = 64 << 10 // output, rewritten with its tail when it grows beyond
)

// store writes a unit's file in one step and durably.
func store(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// load reads a unit's file; found is false if there is none.
func load(path string, v any) (found bool, err error) {
	data, err := readBounded(path, maxUnitFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, fmt.Errorf("activation: %s: %w", path, err)
	}
	return true, nil
}

func readBounded(path string, limit int64) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return data, err
}
