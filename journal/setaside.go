package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strconv"
)

// setAsideDamaged gives every damaged segment a second name and reports it.
// Nothing of it is used: the file moves there. Some of it is used: it gets the
// name as a hard link, which needs no space, and stays where it is.
func (r *recovery) setAsideDamaged() {
	for i := range r.found {
		v := &r.found[i]
		if v.damage == nil {
			continue
		}
		evidence := r.evidenceName(*v)
		keep := r.j.keepAs
		if v.headless {
			keep = r.j.moveAs
		}
		if err := keep(segmentName(v.id), evidence); err != nil {
			v.damage.Reason += "; could not be set aside: " + err.Error()
		} else {
			v.damage.SetAside = evidence
		}
		r.opened.Damage = append(r.opened.Damage, *v.damage)
	}
}

// evidenceName says what is wrong and is the same for the same bytes, so that
// damage found at every Open is kept once.
func (r *recovery) evidenceName(v verdict) string {
	return fmt.Sprintf("%s%016x-at-%d-%08x", damagedPrefix, v.id, v.damage.Offset, r.j.fileSum(segmentName(v.id)))
}

// fileSum is the checksum of as much of a file as can be read: it only tells
// two states of one damaged file apart.
func (j *Journal) fileSum(name string) uint32 {
	f, err := j.opt.FS.Open(j.path(name))
	if err != nil {
		return 0
	}
	var sum uint32
	buf := make([]byte, readBuffer)
	for off := int64(0); err == nil; {
		var n int
		n, err = f.ReadAt(buf, off)
		sum, off = crc32.Update(sum, castagnoli, buf[:n]), off+int64(n)
	}
	if f.Close() != nil {
		return 0
	}
	return sum
}

// keepAs gives a file a second name, durably. One that has it already is fine.
func (j *Journal) keepAs(name, evidence string) error {
	err := j.opt.FS.Link(j.path(name), j.path(evidence))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return j.opt.FS.SyncDir(j.opt.Dir)
}

// moveAs gives a file another name, durably.
func (j *Journal) moveAs(name, evidence string) error {
	if err := j.opt.FS.Rename(j.path(name), j.path(evidence)); err != nil {
		return err
	}
	return j.opt.FS.SyncDir(j.opt.Dir)
}

// setAsideNewer moves all segments into a directory of their own. Those that
// are not newer go first and durably: as long as one newer segment is in
// place, the next Open goes on with the move, and never takes the older ones
// for a whole journal.
func (r *recovery) setAsideNewer() error {
	j := r.j
	dir := r.newerDir()
	if err := j.opt.FS.MakeDir(j.path(dir)); err != nil {
		return err
	}
	var damage []Damage
	for _, newer := range []bool{false, true} {
		for i := range r.found {
			v := &r.found[i]
			if v.newer != newer {
				continue
			}
			to := dir + "/" + segmentName(v.id)
			err := j.opt.FS.Rename(j.path(segmentName(v.id)), j.path(to))
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // not there: moved by the attempt before
				return err
			}
			if v.damage != nil {
				v.damage.SetAside = to
				damage = append(damage, *v.damage)
			}
		}
		if err := errors.Join(j.opt.FS.SyncDir(j.path(dir)), j.opt.FS.SyncDir(j.opt.Dir)); err != nil {
			return err
		}
	}
	r.opened.Damage, r.opened.NewerSchema = damage, true
	return nil
}

// newerDir gives the first name that is not taken.
func (r *recovery) newerDir() string {
	for n := 1; ; n++ {
		if name := newerPrefix + strconv.Itoa(n); !slices.Contains(r.list.setAside, name) {
			return name
		}
	}
}

// listSetAside reports what is set aside now and what earlier Opens left.
func (r *recovery) listSetAside() error {
	l, err := list(r.j.opt.FS, r.j.opt.Dir)
	r.opened.SetAside = l.setAside
	return err
}
