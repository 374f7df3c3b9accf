package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/strictjson"
	"nixfleet/trust"
	"nixfleet/wire"
)

func otherHost(named, certified string) string {
	return fmt.Sprintf("the message is of %q, the certificate of %q", named, certified)
}

// receive decodes one envelope and does all that needs no state: strictness, identity, signature, canonical forms.
// What is wrong with it becomes its answer.
func (s *Server) receive(raw []byte, certified string) core.Received {
	rec := core.Received{Raw: raw}
	v, err := strictjson.Parse(raw, strictjson.DefaultLimits)
	if err == nil {
		rec.Envelope, err = wire.DecodeEnvelopeObject(v.Object())
	}
	if err == nil {
		rec.Canonical, err = ledger.AppendCanonical(make([]byte, 0, len(raw)), v)
	}
	if err == nil {
		rec.EventHash, err = eventHash(v)
	}
	if err != nil {
		rec.Refused, rec.Reason = http.StatusBadRequest, err.Error()
		rec.Envelope.RolloutID, rec.Envelope.Seq = claimed(v)
		return rec
	}
	if rec.Envelope.Hostname != certified {
		rec.Refused, rec.Reason = http.StatusForbidden, otherHost(rec.Envelope.Hostname, certified)
		return rec
	}
	if err := s.checkSignature(raw, rec.Envelope.Signature, certified); err != nil {
		rec.Refused, rec.Reason = http.StatusForbidden, err.Error()
	}
	return rec
}

// claimed is what a bad envelope says it is, for its place in the answer to a batch.
func claimed(v strictjson.Value) (rolloutID string, seq uint64) {
	rolloutID = "unknown" // an answer names some rollout
	if v.Kind != strictjson.Map {
		return rolloutID, 0
	}
	o := v.Object()
	if id, ok := v.Get("rolloutId"); ok && id.Text() != "" && len(id.Text()) <= wire.MaxRolloutID {
		rolloutID = id.Text()
	}
	if event, ok := v.Get("event"); ok && event.Kind == strictjson.Map {
		seq = o.Object("event").OptUint64("seq")
	}
	return rolloutID, seq
}

func eventHash(v strictjson.Value) (ledger.Hash, error) {
	event, _ := v.Get("event")
	canonical, err := ledger.AppendCanonical(nil, event)
	return sha256.Sum256(canonical), err
}

// checkSignature holds a message to the key that the fleet lists for its host; a host without one is not held to any.
func (s *Server) checkSignature(message []byte, signature, hostname string) error {
	line := s.pubkey(hostname)
	if line == "" {
		return nil
	}
	key, err := trust.ParseHostPubkey(line)
	if err != nil {
		return fmt.Errorf("the fleet's key of this host cannot be read: %w", err)
	}
	return trust.VerifyHost(key, message, signature)
}

func (s *Server) pubkey(hostname string) string {
	d := s.config.Documents()
	if d == nil || d.Fleet.Value() == nil {
		return ""
	}
	return d.Fleet.Value().Hosts[hostname].Pubkey
}

// receiveRecord decodes a record message as receive does an envelope.
func (s *Server) receiveRecord(raw []byte, certified string) (core.RecordReport, *problem) {
	m, err := wire.DecodeRecordMessage(raw)
	if err != nil {
		return core.RecordReport{}, refuse(http.StatusBadRequest, err.Error())
	}
	if m.Hostname != certified {
		return core.RecordReport{}, refuse(http.StatusForbidden, otherHost(m.Hostname, certified))
	}
	canonical, err := ledger.Canonical(raw)
	if err != nil {
		return core.RecordReport{}, refuse(http.StatusBadRequest, err.Error())
	}
	if err := s.checkSignature(raw, m.Signature, certified); err != nil {
		return core.RecordReport{}, refuse(http.StatusForbidden, err.Error())
	}
	return core.RecordReport{Message: m, Raw: raw, Canonical: canonical, Signed: true}, nil
}
