package journal

import (
	"errors"
	"io/fs"
)

// refillEvery is how many commits lie between two attempts to get the reserve
// back: on a full disk each one costs a failed allocation.
const refillEvery = 64

// reserve is space kept back for a full disk (docs/design/04-agent.md, 4.1), so
// that a verdict and its rollback still commit.
type reserve struct {
	want  int64 // bytes; 0 or less: none
	held  bool
	since int // commits since the last attempt to get it back
}

func (r *reserve) spent() bool { return r.want > 0 && !r.held }

// withReserve runs op; if the disk is full it gives up the reserve and runs op once more.
func (j *Journal) withReserve(op func() error) error {
	err := op()
	if err == nil || !diskFull(err) || !j.reserve.held {
		return err
	}
	if rerr := j.releaseReserve(); rerr != nil {
		return errors.Join(err, rerr)
	}
	return op()
}

func (j *Journal) releaseReserve() error {
	err := j.opt.FS.Remove(j.path(reserveName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.reserve.held, j.reserve.since = false, 0
	// Some file systems give the blocks back only once the removal is durable.
	return j.opt.FS.SyncDir(j.opt.Dir)
}

// takeReserve puts the reserve (back) in place. That it cannot is a state, not
// an error of the operation it follows: see ReserveSpent.
func (j *Journal) takeReserve() {
	if !j.reserve.spent() {
		return
	}
	j.reserve.since = 0
	name := j.path(reserveName)
	if err := j.opt.FS.Preallocate(name, j.reserve.want); err == nil {
		j.reserve.held = true
		return
	}
	// Whatever part of it was had goes back; if that fails too, the next
	// attempt starts by truncating it.
	if err := j.opt.FS.Remove(name); err != nil {
		j.reserve.held = false
	}
}

// committed counts a commit towards the next attempt to get the reserve back.
func (j *Journal) committed() {
	if !j.reserve.spent() {
		return
	}
	if j.reserve.since++; j.reserve.since >= refillEvery {
		j.takeReserve()
	}
}
