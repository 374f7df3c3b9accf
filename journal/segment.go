package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

const (
	magic         = "nfxjrnl\n"
	formatVersion = 1
	headerBytes   = 8 + 4 + 4 + 8 + 4

	segmentSuffix = ".seg"
	tmpSuffix     = ".tmp"
	damagedPrefix = "damaged-"
	newerPrefix   = "newer-"
	lockName      = "lock"
	reserveName   = "reserve"
)

// segment is a kept one: bytes counts its header and its intact frames.
type segment struct {
	id     uint64
	schema uint32
	bytes  int64
	gone   bool // its file is removed, but not yet durably
}

func segmentName(id uint64) string { return fmt.Sprintf("%016x%s", id, segmentSuffix) }

// segmentID is the inverse of segmentName; anything else is no segment.
func segmentID(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 16, 64)
	return id, err == nil && id > 0 && id < 1<<63 && segmentName(id) == name
}

func appendHeader(b []byte, id uint64, schema uint32) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, schema)
	b = binary.LittleEndian.AppendUint64(b, id)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// header is what a segment says about itself.
type header struct{ version, schema uint32 }

// readHeader gives an error for a header that is not intact or not that of segment id.
func readHeader(src io.ReaderAt, id uint64) (header, error) {
	var b [headerBytes]byte
	n, err := src.ReadAt(b[:], 0)
	if n < headerBytes {
		if err == nil || errors.Is(err, io.EOF) {
			return header{}, fmt.Errorf("header has %d of %d bytes", n, headerBytes)
		}
		return header{}, fmt.Errorf("header cannot be read: %w", err)
	}
	if string(b[:len(magic)]) != magic {
		return header{}, errors.New("is not a journal segment")
	}
	if binary.LittleEndian.Uint32(b[headerBytes-4:]) != crc32.Checksum(b[:headerBytes-4], castagnoli) {
		return header{}, errors.New("checksum of the header does not match")
	}
	if got := binary.LittleEndian.Uint64(b[16:]); got != id {
		return header{}, fmt.Errorf("header is that of segment %d", got)
	}
	h := header{binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])}
	if h.version == 0 {
		return header{}, errors.New("format version 0")
	}
	return h, nil
}

// verdict is what reading a whole segment found.
type verdict struct {
	segment
	frames   int
	snapshot Pos // of the last one; zero if there is none
	torn     int64
	damage   *Damage // nil if intact
	headless bool    // the header itself is damaged: nothing of it can be used
	newer    bool    // written by a newer release
}

// examine reads a segment from its header to the first byte that is not
// intact and calls fn, if there is one, for each frame. last is the
// segment that alone may end in a torn frame. An error is fn's.
func (r *frameReader) examine(src io.ReaderAt, size int64, id uint64, last bool, schema uint32, fn func(Frame) error) (verdict, error) {
	v := verdict{segment: segment{id: id}}
	h, err := readHeader(src, id)
	if err != nil {
		v.headless = true
		v.damage = &Damage{File: segmentName(id), Reason: err.Error()}
		return v, nil
	}
	v.schema = h.schema
	if h.version > formatVersion || h.schema > schema {
		v.newer = true
		v.damage = &Damage{File: segmentName(id), Reason: fmt.Sprintf(
			"is newer: format version %d, payload schema %d; this release reads up to %d and %d",
			h.version, h.schema, formatVersion, schema)}
		return v, nil
	}
	r.start(src, Pos{id, headerBytes}, size)
	for {
		f, err := r.next()
		v.bytes = r.at.Offset
		if errors.Is(err, io.EOF) {
			return v, nil
		}
		if errors.Is(err, errTorn) && last {
			v.torn = size - v.bytes
			return v, nil
		}
		if err != nil {
			v.damage = &Damage{File: segmentName(id), Offset: v.bytes, Reason: err.Error()}
			return v, nil
		}
		v.frames++
		if f.Kind == Snapshot {
			v.snapshot = f.Pos
		}
		if fn == nil {
			continue
		}
		f.Schema = h.schema
		if err := fn(f); err != nil {
			return v, err
		}
	}
}
