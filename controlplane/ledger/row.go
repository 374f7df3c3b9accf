package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"nixfleet/strictjson"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Flags say what became of a row's event.
type Flags uint8

// The flags.
const (
	Late        Flags = 1 << iota // its seq is below the last one and was never stored: kept, not stepped
	Diverged                      // the mirror's Step refused it, or it does not fit the ticket
	Synthesized                   // made by the control plane for an agent that cannot say it
	Resync                        // a record the agent sent of itself
	Parked                        // of a rollout not known when it came; stepped when it is
)

var flagNames = [...]string{"late", "diverged", "synthesized", "resync", "parked"}

// Names returns the names of the flags that are set, in order.
func (f Flags) Names() []string {
	names := []string{}
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// ParseFlags is the inverse of Names.
func ParseFlags(names []string) (Flags, error) {
	var f Flags
	for _, n := range names {
		i := slices.Index(flagNames[:], n)
		if i < 0 {
			return 0, fmt.Errorf("ledger: unknown flag %q, want one of %v", n, flagNames)
		}
		f |= 1 << i
	}
	return f, nil
}

// Row is one line of the event log. Rows are never changed once they are written.
type Row struct {
	Seq        uint64    // 1, 2, 3, ...
	At         time.Time // when the control plane received or decided it, UTC
	Kind       string    // a wire event kind, or the kind of a fact of the control plane
	Host       string    // "" where no host is concerned
	RolloutID  string    // "" where no rollout is concerned
	EventSeq   uint64    // the agent's number of the event; 0 for everything else
	EventHash  Hash      // of the canonical event, for telling a duplicate from a fork; derived, not chained
	PolicyHash string    // of the policy the event was stepped with
	Flags      Flags
	Payload    []byte // JSON as received: the whole envelope with its signature, or the fact
	// Canonical is the payload's canonical form where whoever made the row has it already: canonicalising is most of
	// the cost of a row, and the reducer is one goroutine. Nil: it is worked out.
	Canonical  []byte
	Prev, Hash Hash
}

// Head is the end of a log.
type Head struct {
	Seq  uint64
	Hash Hash
}

// The ways a chain can be broken.
var (
	ErrBrokenChain = errors.New("the chain is broken")
	ErrMalformed   = errors.New("malformed row")
)

// Append gives row its place behind h: Seq, Prev and Hash. It returns the new head.
func (h Head) Append(row *Row) (Head, error) {
	row.Seq, row.Prev = h.Seq+1, h.Hash
	sum, err := row.sum()
	if err != nil {
		return h, err
	}
	row.Hash = sum
	return Head{Seq: row.Seq, Hash: row.Hash}, nil
}

// Verify says whether row follows h unchanged; the error is of class ErrBrokenChain and says what is wrong.
func Verify(h Head, row *Row) error {
	if row.Seq != h.Seq+1 {
		return fmt.Errorf("ledger: row %d follows row %d: %w", row.Seq, h.Seq, ErrBrokenChain)
	}
	if row.Prev != h.Hash {
		return fmt.Errorf("ledger: row %d names another row before it: %w", row.Seq, ErrBrokenChain)
	}
	sum, err := row.sum()
	if err != nil {
		return err
	}
	if sum != row.Hash {
		return fmt.Errorf("ledger: row %d is not what was written: %w", row.Seq, ErrBrokenChain)
	}
	return nil
}

// sum is SHA-256 over the 32 bytes of the previous hash and the canonical row.
func (r *Row) sum() (Hash, error) {
	buf := make([]byte, 0, len(r.Prev)+len(r.Payload)+256)
	buf = append(buf, r.Prev[:]...)
	buf, err := r.appendCanonical(buf)
	if err != nil {
		return Hash{}, fmt.Errorf("ledger: row %d: %w", r.Seq, err)
	}
	return sha256.Sum256(buf), nil
}

// appendCanonical writes the members in canonical order, so only the payload needs sorting.
func (r *Row) appendCanonical(dst []byte) ([]byte, error) {
	dst = append(dst, `{"at":`...)
	dst = AppendString(dst, r.At.UTC().Format(time.RFC3339Nano))
	if r.EventSeq != 0 {
		dst = append(dst, `,"eventSeq":`...)
		dst = strconv.AppendUint(dst, r.EventSeq, 10)
	}
	dst = append(dst, `,"flags":`...)
	dst = r.appendFlags(dst)
	dst = append(dst, `,"host":`...)
	dst = AppendString(dst, r.Host)
	dst = append(dst, `,"kind":`...)
	dst = AppendString(dst, r.Kind)
	dst = append(dst, `,"payload":`...)
	if r.Canonical != nil {
		dst = append(dst, r.Canonical...)
	} else {
		v, err := strictjson.Parse(r.Payload, strictjson.DefaultLimits)
		if err != nil {
			return dst, err
		}
		if dst, err = AppendCanonical(dst, v); err != nil {
			return dst, err
		}
	}
	dst = append(dst, `,"policyHash":`...)
	dst = AppendString(dst, r.PolicyHash)
	dst = append(dst, `,"rolloutId":`...)
	dst = AppendString(dst, r.RolloutID)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, r.Seq, 10)
	return append(dst, '}'), nil
}

func (r *Row) appendFlags(dst []byte) []byte {
	dst = append(dst, '[')
	for i, n := range r.Flags.Names() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, n)
	}
	return append(dst, ']')
}

// AppendLine appends the row as one JSON object without a line feed: the members of the canonical row, then prevHash
// and hash in hex. The payload keeps its bytes, without white space between them.
func (r *Row) AppendLine(dst []byte) ([]byte, error) {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, r.Seq, 10)
	dst = append(dst, `,"at":`...)
	dst = AppendString(dst, r.At.UTC().Format(time.RFC3339Nano))
	for _, f := range [...]struct{ name, value string }{{"kind", r.Kind}, {"host", r.Host}, {"rolloutId", r.RolloutID}, {"policyHash", r.PolicyHash}} {
		dst = append(dst, `,"`+f.name+`":`...)
		dst = AppendString(dst, f.value)
	}
	if r.EventSeq != 0 {
		dst = append(dst, `,"eventSeq":`...)
		dst = strconv.AppendUint(dst, r.EventSeq, 10)
	}
	dst = append(dst, `,"flags":`...)
	dst = r.appendFlags(dst)
	dst = append(dst, `,"payload":`...)
	buf := bytes.NewBuffer(dst)
	if err := json.Compact(buf, r.Payload); err != nil {
		return dst, fmt.Errorf("ledger: row %d: payload: %w", r.Seq, err)
	}
	dst = append(buf.Bytes(), `,"prevHash":"`+r.Prev.String()+`","hash":"`+r.Hash.String()+`"}`...)
	return dst, nil
}

// ParseLine reads a line that AppendLine wrote; the error is of class ErrMalformed. EventHash is not on the line.
func ParseLine(line []byte) (Row, error) {
	v, err := strictjson.Parse(line, strictjson.Limits{Bytes: 2 << 20, Depth: 33}) // an envelope of 1 MiB, and the row around it
	if err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	o := v.Object()
	r := Row{
		Seq: o.Uint64("seq"), At: o.Time("at"), Kind: o.String("kind"), Host: o.String("host"), RolloutID: o.String("rolloutId"),
		PolicyHash: o.String("policyHash"), EventSeq: o.OptUint64("eventSeq"), Payload: bytes.Clone(o.Value("payload").Raw),
	}
	flags := o.Strings("flags")
	prev, hash := o.String("prevHash"), o.String("hash")
	if err := o.Err(); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if r.Flags, err = ParseFlags(flags); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, h := range [...]struct {
		into *Hash
		text string
	}{{&r.Prev, prev}, {&r.Hash, hash}} {
		if n, err := hex.Decode(h.into[:], []byte(h.text[:min(len(h.text), 2*sha256.Size)])); err != nil || n != sha256.Size || len(h.text) != 2*sha256.Size {
			return Row{}, fmt.Errorf("ledger: %w: row %d: %q is not the hex of a SHA-256", ErrMalformed, r.Seq, h.text)
		}
	}
	return r, nil
}
