// Package journaltest is a disk in memory for tests and simulations of what
// stands on package journal. It is a journal.FS.
//
// It models what a real disk may do to a program (docs/design/08-operating-and-proving.md, 8.3):
//
//   - What was written and not fsynced may be lost at a crash, kept, kept in
//     part, or kept with holes. See Loss.
//   - A new name, a removal and a rename last only once their directory was
//     fsynced. Until then any of them may be lost; a rename is lost or kept whole.
//   - A failed fsync drops the dirty pages: a later one that succeeds does not bring them back.
//   - Any operation may fail, a write after some of its bytes. See Disk.Inject.
//   - The disk may be full. See Disk.SetCapacity.
//
// Disk.Watch calls a function before and after every operation that changes
// something, and at every byte of every write; Point.Crash gives the disk that
// a machine would find if the power went at that moment, while the original
// runs on. So one run of a workload visits every crash point.
//
// Directories are durable as soon as they are made. A Disk may be used by
// several goroutines; the functions given to Watch and Inject must not use it.
package journaltest
