package api

import (
	"errors"
	"net/http"

	"nixfleet/controlplane/core"
	"nixfleet/fleet"
	"nixfleet/wire"
)

func (s *Server) documentRoutes() {
	s.mux.HandleFunc("GET "+wire.PathFleet, s.only(asAgent, s.document(fleetDocument, false)))
	s.mux.HandleFunc("GET "+wire.PathFleet+wire.PathSig, s.only(asAgent, s.document(fleetDocument, true)))
	s.mux.HandleFunc("GET "+wire.PathRollouts+"{rollout}", s.only(asAgent, s.document(manifestDocument, false)))
	s.mux.HandleFunc("GET "+wire.PathRollouts+"{rollout}"+wire.PathSig, s.only(asAgent, s.document(manifestDocument, true)))
	s.mux.HandleFunc("GET "+wire.PathTickets+"{rollout}", s.only(asAgent, s.ticket(false)))
	s.mux.HandleFunc("GET "+wire.PathTickets+"{rollout}"+wire.PathSig, s.only(asAgent, s.ticket(true)))
}

// signed is a verified document as it is served. tag names its content and its signature: signing again gives a new
// signature over the same content, and nobody may keep the old one.
type signed struct {
	raw, signature []byte
	tag            string
}

func fleetDocument(d *core.Documents, _ *http.Request) (signed, bool) {
	v := d.Fleet
	return signed{v.Raw(), v.Signature(), v.Hash()}, !v.IsZero()
}

func manifestDocument(d *core.Documents, r *http.Request) (signed, bool) {
	v := d.Manifests[r.PathValue("rollout")]
	return signed{v.Raw(), v.Signature(), v.Hash()}, !v.IsZero()
}

// document serves a document or its raw signature, bytes as received; 503 until a fleet was verified.
func (s *Server) document(pick func(*core.Documents, *http.Request) (signed, bool), signature bool) func(http.ResponseWriter, *http.Request, caller) *problem {
	return func(w http.ResponseWriter, r *http.Request, _ caller) *problem {
		if p := s.keysKnown(); p != nil {
			return p
		}
		doc, ok := pick(s.config.Documents(), r)
		if !ok {
			return refuse(http.StatusNotFound, "no such rollout")
		}
		s.serve(w, r, doc, signature)
		return nil
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, doc signed, signature bool) {
	data, kind, tag := doc.raw, "application/json", `"`+doc.tag+`"`
	if signature {
		data, kind, tag = doc.signature, "application/octet-stream", `"sig-`+doc.tag+`"`
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", kind)
	if _, err := w.Write(data); err != nil {
		s.config.Logger.Debug("document not delivered", "error", err)
	}
}

// ticket serves a host its own ticket, or the ticket's signature: whose it is comes from the certificate.
func (s *Server) ticket(signature bool) func(http.ResponseWriter, *http.Request, caller) *problem {
	return func(w http.ResponseWriter, r *http.Request, who caller) *problem {
		id, err := fleet.ParseRolloutID(r.PathValue("rollout"))
		if err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
		raw, sig, hash, err := s.config.Tickets.Ticket(r.Context(), id.String(), who.name)
		switch {
		case errors.Is(err, ErrNoTicket):
			return refuse(http.StatusNotFound, "no ticket of "+who.name+" in "+id.String())
		case err != nil:
			s.config.Logger.Warn("ticket not served", "host", who.name, "rolloutId", id.String(), "error", err)
			return &problem{status: http.StatusServiceUnavailable, body: wire.Problem{Error: "the ticket cannot be verified now"}, retryAfter: retryAfter}
		}
		s.serve(w, r, signed{raw, sig, hash}, signature)
		return nil
	}
}
