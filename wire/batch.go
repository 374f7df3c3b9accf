package wire

import (
	"fmt"

	"nixfleet/strictjson"
)

// AppendBatch appends a batch of envelopes that are encoded already, at most MaxBatch of one host, in order.
func AppendBatch(dst []byte, envelopes [][]byte) []byte {
	o := open(dst)
	o.key("events")
	o.buf = append(o.buf, '[')
	for i, e := range envelopes {
		o.buf = append(comma(o.buf, i), e...)
	}
	o.buf = append(o.buf, ']')
	return o.close()
}

// SplitBatch returns the envelopes of a batch as they were sent, at most MaxBatch. Each is read by DecodeEnvelope, so
// that a bad one has an answer of its own. An error means that the batch is refused whole.
func SplitBatch(data []byte) ([][]byte, error) {
	o, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("wire: batch: %w", err)
	}
	list := o.Objects("events")
	most(o, "events", len(list), MaxBatch)
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("wire: batch: %w", err)
	}
	out := make([][]byte, len(list))
	for i, e := range list {
		out[i] = e.Raw()
	}
	return out, nil
}

// Answers to an event that name what is wrong with its place in the order, beside reasons in free text.
const (
	ErrorGap  = "gap"  // an event before it is missing: resend all with a seq above ReplayFrom
	ErrorFork = "fork" // this seq is taken by another event: new epoch, number on from ReplayFrom, send the record
)

// StatusSkipped is the status of an event of a batch that was not looked at because one before it failed.
const StatusSkipped = 0

// BatchResult is the answer to one event of a batch.
type BatchResult struct {
	RolloutID     string
	Seq           uint64
	Status        int // as an HTTP status; StatusSkipped is written as "skipped"
	ReplayFrom    uint64
	HasReplayFrom bool
	Error         string // ErrorGap, ErrorFork or a reason; "" on success
}

// skipped is how StatusSkipped is spelled.
const skipped = "skipped"

// EncodeBatchResults gives the answer to a batch.
func EncodeBatchResults(results []BatchResult) []byte {
	o := open(nil)
	o.key("results")
	o.buf = append(o.buf, '[')
	for i := range results {
		o.buf = results[i].append(comma(o.buf, i))
	}
	o.buf = append(o.buf, ']')
	return o.close()
}

func (b *BatchResult) append(dst []byte) []byte {
	o := open(dst)
	o.str("rolloutId", b.RolloutID)
	o.uint("seq", b.Seq)
	if b.Status == StatusSkipped {
		o.str("status", skipped)
	} else {
		o.int("status", int64(b.Status))
	}
	if b.HasReplayFrom {
		o.uint("replayFrom", b.ReplayFrom)
	}
	o.optStr("error", b.Error)
	return o.close()
}

// DecodeBatchResults reads the answer to a batch, at most MaxBatch results.
func DecodeBatchResults(data []byte) ([]BatchResult, error) {
	o, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("wire: batch results: %w", err)
	}
	list := o.Objects("results")
	most(o, "results", len(list), MaxBatch)
	var out []BatchResult
	for _, r := range list {
		out = append(out, BatchResult{
			RolloutID:     named(r, "rolloutId", MaxRolloutID),
			Seq:           r.Uint64("seq"),
			Status:        batchStatus(r),
			ReplayFrom:    r.OptUint64("replayFrom"),
			HasReplayFrom: r.Has("replayFrom"),
			Error:         optText(r, "error", MaxText),
		})
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("wire: batch results: %w", err)
	}
	return out, nil
}

func batchStatus(o *strictjson.Object) int {
	if o.Value("status").Kind == strictjson.String {
		o.Enum("status", skipped)
		return StatusSkipped
	}
	n := o.Uint32("status")
	if o.Err() == nil && (n < 100 || n > 599) {
		o.Fail("status", "%d is not an HTTP status", n)
	}
	return int(n)
}

// Problem is the body of an answer that is not a success: what is wrong and, for a gap or a fork, the highest seq that
// is stored.
type Problem struct {
	Error         string
	ReplayFrom    uint64
	HasReplayFrom bool
}

// Encode gives the body.
func (p Problem) Encode() []byte {
	o := open(nil)
	o.str("error", p.Error)
	if p.HasReplayFrom {
		o.uint("replayFrom", p.ReplayFrom)
	}
	return o.close()
}

// DecodeProblem reads the body of an answer that is not a success. A control plane of another make may send anything
// there, so callers go on without it on an error.
func DecodeProblem(data []byte) (Problem, error) {
	o, err := parse(data)
	if err != nil {
		return Problem{}, fmt.Errorf("wire: problem: %w", err)
	}
	p := Problem{Error: text(o, "error", MaxText), ReplayFrom: o.OptUint64("replayFrom"), HasReplayFrom: o.Has("replayFrom")}
	if err := o.Err(); err != nil {
		return Problem{}, fmt.Errorf("wire: problem: %w", err)
	}
	return p, nil
}
