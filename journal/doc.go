// Package journal is the agent's durable state: one append-only, segmented,
// checked log (docs/design/04-agent.md, 4.2).
//
// It stores bytes and knows nothing about them. A commit is one payload; a
// snapshot is one payload that stands for everything before it.
//
// # Using it
//
//	j, opened, err := journal.Open(journal.Options{Dir: dir, Schema: 1})
//	// rebuild from opened.Snapshot, then from the commits behind it:
//	err = j.Scan(opened.SnapshotPos, func(f journal.Frame) error { ... })
//	pos, err := j.Append(payload)     // durable when err is nil; then act
//	if j.NeedsRotation() { err = j.Rotate(snapshot) }
//
// An error from Append means that nothing was committed and that the same
// payload may be given again. Only a crash before that retry may show the
// payload on the next Open: it was in flight, and it is there once.
//
// # On disk
//
// A directory (0700) holds files (0600):
//
//	000000000000000a.seg        a segment; the highest number is the active one
//	*.tmp                       a segment that was being written; removed on Open
//	lock                        flock'ed by the owner, holds its process id
//	reserve                     space given up when the disk is full
//	damaged-ID-at-OFFSET-CRC    a damaged segment, set aside; never deleted here
//	newer-N/                    segments of a newer release, set aside; never deleted here
//
// A segment is a header and frames, little-endian:
//
//	header  magic "nfxjrnl\n" | version u32 | schema u32 | segment u64 | crc32c u32
//	frame   length u32 | kind u8 | head crc32c u32 | crc32c u32 | payload
//
// The head checksum covers segment number, offset, length and kind; the other
// one those and the payload. Number and offset are in it so that an intact
// frame in a wrong place is refused too. The head has its own so that a
// damaged length is told apart from a frame that a crash cut short.
//
// A segment appears whole or not at all: written under a .tmp name, fsynced,
// renamed, the directory fsynced. That holds for a rotation, a rewrite and a
// renewal after a failed fsync, so every leftover of a crash means one thing.
//
// Open always writes the active segment anew. The process before may have died
// between a failed fsync and what it would have done about it; then the kernel
// still shows bytes that are not on disk, and nothing that can be read tells.
//
// # What Open makes of what it finds
//
// The bytes behind the last frame of the last segment are a torn frame if they
// are a proper beginning of one, or all zero: they are cut. Everything else is
// damage: named in Opened.Damage, the file set aside under a second name, and
// what is intact used: the frames before it in that segment, and the other
// segments. Damage in an older segment is named at every Open until that
// segment is removed or rewritten. A segment file that vanished as a whole
// cannot be told from a removed one.
//
// # Versions
//
// The header layout never changes. The version says how frames are laid out,
// the schema how payloads are written, as the highest any payload in that
// segment may have. A release reads every number up to its own. A number is
// raised one release after the release that learned to read it, so that the
// previous release, to which a host may roll back, still reads the log. A
// higher number than the own sets the whole log aside and starts an empty one.
//
// # Concurrency
//
// A Journal may be used by several goroutines. Append, Rotate, Rewrite and
// Remove exclude each other; Scan runs beside them and sees what was committed
// when it reached the segment.
//
// # Testing
//
// Package journaltest has a disk in memory that crashes, fails, fills up and
// forgets; the tests here crash it before and after every operation and at
// every byte of every write.
package journal
