package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// MaxPayload bounds one frame, in bytes. A commit is at most 64 inputs (the
// capacity of the agent's input channel) of at most 64 KiB each with what they
// bring about, 4 MiB, and a snapshot a few records; four times that refuses
// nothing real, and keeps one payload from growing the agent without end.
const MaxPayload = 16 << 20

// frameHead is the length of a frame without its payload.
const frameHead = 4 + 1 + 4 + 4

// readBuffer is how much a scan reads at once: many frames, yet small beside the agent's 20 MiB.
const readBuffer = 64 << 10

// Kind says what a frame holds.
type Kind uint8

// The kinds of frames. Their values are on disk; 0 is none, so that zeros are no frame.
const (
	Commit   Kind = 1
	Snapshot Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Commit:
		return "commit"
	case Snapshot:
		return "snapshot"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Pos is the place of a frame. The zero Pos is before everything.
type Pos struct {
	Segment uint64
	Offset  int64 // bytes from the start of the segment
}

// Less tells whether p comes before q.
func (p Pos) Less(q Pos) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// Frame is one payload as it was given. Payload is valid until the function
// that was handed the Frame returns.
type Frame struct {
	Pos     Pos
	Kind    Kind
	Schema  uint32 // no payload of this frame's segment is newer than that
	Payload []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// headSum covers where a frame is as well as its head: an intact frame that
// the disk delivers from another place must not pass.
func headSum(at Pos, length uint32, kind Kind) uint32 {
	var b [8 + 8 + 4 + 1]byte
	binary.LittleEndian.PutUint64(b[0:], at.Segment)
	binary.LittleEndian.PutUint64(b[8:], uint64(at.Offset))
	binary.LittleEndian.PutUint32(b[16:], length)
	b[20] = byte(kind)
	return crc32.Checksum(b[:], castagnoli)
}

// appendFrame appends one frame to a segment's bytes; its place is their end.
func appendFrame(segment []byte, id uint64, kind Kind, payload []byte) []byte {
	sum := headSum(Pos{id, int64(len(segment))}, uint32(len(payload)), kind)
	segment = binary.LittleEndian.AppendUint32(segment, uint32(len(payload)))
	segment = append(segment, byte(kind))
	segment = binary.LittleEndian.AppendUint32(segment, sum)
	segment = binary.LittleEndian.AppendUint32(segment, crc32.Update(sum, castagnoli, payload))
	return append(segment, payload...)
}

// errTorn: the bytes from here to the end are a frame that was cut short.
var errTorn = errors.New("ends inside a frame")

// parseHead checks a head; it does not judge whether the payload is there.
func parseHead(head []byte, at Pos) (length int64, kind Kind, err error) {
	n := binary.LittleEndian.Uint32(head)
	kind = Kind(head[4])
	if binary.LittleEndian.Uint32(head[5:]) != headSum(at, n, kind) {
		return 0, 0, errors.New("checksum of the frame head does not match")
	}
	if kind != Commit && kind != Snapshot {
		return 0, 0, fmt.Errorf("unknown frame kind %d", kind)
	}
	if n > MaxPayload {
		return 0, 0, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, MaxPayload)
	}
	return int64(n), kind, nil
}

// frameReader reads the frames of one segment after another with one buffer.
type frameReader struct {
	in   *bufio.Reader
	at   Pos // of the next frame
	end  int64
	head [frameHead]byte
	buf  []byte
}

// start puts the reader on a frame of a segment whose bytes end at end.
func (r *frameReader) start(src io.ReaderAt, at Pos, end int64) {
	section := io.NewSectionReader(src, at.Offset, end-at.Offset)
	if want := int(min(readBuffer, end)); r.in == nil || r.in.Size() < want {
		r.in = bufio.NewReaderSize(section, want)
	} else {
		r.in.Reset(section)
	}
	r.at, r.end = at, end
}

// next gives the next frame. io.EOF says that the segment ended behind a
// frame, errTorn that it ended inside one; every other error is damage at r.at.
func (r *frameReader) next() (Frame, error) {
	left := r.end - r.at.Offset
	if left <= 0 {
		return Frame{}, io.EOF
	}
	if left < frameHead {
		return Frame{}, errTorn
	}
	if err := r.fill(r.head[:]); err != nil {
		return Frame{}, err
	}
	n, kind, err := parseHead(r.head[:], r.at)
	if err != nil {
		return Frame{}, r.orZeros(err)
	}
	if n > left-frameHead {
		return Frame{}, errTorn
	}
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n, n+n/4)
	}
	r.buf = r.buf[:n]
	if err := r.fill(r.buf); err != nil {
		return Frame{}, err
	}
	sum := binary.LittleEndian.Uint32(r.head[5:])
	if binary.LittleEndian.Uint32(r.head[9:]) != crc32.Update(sum, castagnoli, r.buf) {
		return Frame{}, errors.New("checksum of the frame does not match")
	}
	f := Frame{Pos: r.at, Kind: kind, Payload: r.buf}
	r.at.Offset += frameHead + n
	return f, nil
}

// fill reads all of b. A file that shrank while it was read is a torn one: only
// a reader beside a running agent can meet it.
func (r *frameReader) fill(b []byte) error {
	_, err := io.ReadFull(r.in, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	return nil
}

// orZeros turns a bad head into errTorn if it and all behind it are zero: a
// crash may leave a file with its new length and without its new bytes.
func (r *frameReader) orZeros(bad error) error {
	for _, b := range r.head {
		if b != 0 {
			return bad
		}
	}
	for {
		b, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return errTorn
		}
		if err != nil || b != 0 {
			return bad
		}
	}
}
