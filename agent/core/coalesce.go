package core

import (
	"bytes"

	"nixfleet/host"
	"nixfleet/strictjson"
	"nixfleet/wire"
)

// Latest knows, over a whole journal, the last result of each probe of each rollout: all earlier ones may be
// dropped where space runs out. docs/design/04-agent.md, 4.2.
type Latest struct{ seqs map[probeOf]uint64 }

type probeOf struct{ rolloutID, probe string }

// NewLatest begins with nothing.
func NewLatest() *Latest { return &Latest{seqs: map[probeOf]uint64{}} }

// Note reads a commit. One that cannot be read has nothing to drop and is kept as it is.
func (l *Latest) Note(payload []byte) {
	f, err := readFrame(payload)
	if err != nil {
		return
	}
	for _, o := range f.facts {
		if key, seq, ok := probeResult(o); ok {
			l.seqs[key] = max(l.seqs[key], seq)
		}
	}
}

// probeResult reads a fact as the result of a probe.
func probeResult(o *strictjson.Object) (probeOf, uint64, bool) {
	if o.Has("fact") || !o.Has("event") {
		return probeOf{}, 0, false
	}
	seq, e, err := wire.DecodeEvent(o.Object("event").Raw())
	if err != nil {
		return probeOf{}, 0, false
	}
	r, ok := e.(host.ProbeResult)
	return probeOf{o.OptString("rolloutId"), r.ProbeName}, seq, ok
}

// Coalesce gives the commit without the superseded results of probes that may go, or keep false if nothing is left.
func (l *Latest) Coalesce(payload []byte, may func(rolloutID string, seq uint64) bool) (replacement []byte, keep bool, err error) {
	f, err := readFrame(payload)
	if err != nil {
		return payload, true, nil // kept for who can read it
	}
	var kept []encodedFact
	for _, o := range f.facts {
		key, seq, ok := probeResult(o)
		if ok && seq < l.seqs[key] && may(key.rolloutID, seq) {
			continue
		}
		kept = append(kept, o.Raw())
	}
	if len(kept) == len(f.facts) {
		return payload, true, nil
	}
	// A frame that says more than its results, such as who wrote it in which boot, is kept for that.
	if len(kept) == 0 && f.code == "" && f.now.BootID == "" {
		return nil, false, nil
	}
	o := open(nil)
	o.number("v", Schema)
	o.optText("code", f.code)
	o.reading("now", f.now)
	o.list("facts", len(kept), func(dst []byte, i int) []byte { return append(dst, bytes.TrimSpace(kept[i])...) })
	return o.close(), true, nil
}
