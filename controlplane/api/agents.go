package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"nixfleet/controlplane/core"
	"nixfleet/wire"
)

func (s *Server) agentRoutes() {
	s.mux.HandleFunc("GET "+wire.PathDispatch, s.only(asAgent, s.dispatch))
	s.mux.HandleFunc("POST "+wire.PathEvents, s.only(asAgent, s.event))
	s.mux.HandleFunc("POST "+wire.PathBatch, s.only(asAgent, s.batch))
	s.mux.HandleFunc("POST "+wire.PathBeat, s.only(asAgent, s.heartbeat))
	s.mux.HandleFunc("POST "+wire.PathRecord, s.only(asAgent, s.record))
}

// keysKnown holds reports back until a fleet was verified: without it nobody can say which host must sign.
func (s *Server) keysKnown() *problem {
	if d := s.config.Documents(); d == nil || d.Fleet.IsZero() {
		return &problem{status: http.StatusServiceUnavailable, body: wire.Problem{Error: "no fleet was verified yet"}, retryAfter: retryAfter}
	}
	return nil
}

// event takes one envelope: 204 once it is durable.
func (s *Server) event(w http.ResponseWriter, r *http.Request, who caller) *problem {
	if p := s.keysKnown(); p != nil {
		return p
	}
	data, p := body(w, r)
	if p != nil {
		return p
	}
	received := s.receive(data, who.name)
	answer, p := submit[core.EventsAnswer](s, r.Context(), core.Events{Host: who.name, Received: []core.Received{received}})
	if p != nil {
		return p
	}
	result := answer.Results[0]
	if result.Status == http.StatusNoContent {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return &problem{status: result.Status, body: wire.Problem{Error: result.Error, ReplayFrom: result.ReplayFrom, HasReplayFrom: result.HasReplayFrom}}
}

// batch takes up to wire.MaxBatch envelopes of one host, in order.
func (s *Server) batch(w http.ResponseWriter, r *http.Request, who caller) *problem {
	if p := s.keysKnown(); p != nil {
		return p
	}
	data, p := body(w, r)
	if p != nil {
		return p
	}
	raw, err := wire.SplitBatch(data)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	in := core.Events{Host: who.name, Received: make([]core.Received, len(raw))}
	for i := range raw {
		in.Received[i] = s.receive(raw[i], who.name)
	}
	answer, p := submit[core.EventsAnswer](s, r.Context(), in)
	if p != nil {
		return p
	}
	s.send(w, http.StatusOK, wire.EncodeBatchResults(answer.Results))
	return nil
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request, who caller) *problem {
	data, p := body(w, r)
	if p != nil {
		return p
	}
	in, err := wire.DecodeHeartbeat(data)
	switch {
	case err != nil:
		return refuse(http.StatusBadRequest, err.Error())
	case in.Hostname != who.name:
		return refuse(http.StatusForbidden, otherHost(in.Hostname, who.name))
	}
	answer, p := submit[core.BeatAnswer](s, r.Context(), core.Beat{Heartbeat: in})
	if p != nil {
		return p
	}
	if from := answer.Answer.ReplayFrom; len(from) == 1 {
		for _, n := range from {
			w.Header().Set(wire.HeaderReplayFrom, strconv.FormatUint(n, 10))
		}
	}
	s.send(w, http.StatusOK, answer.Answer.Encode())
	return nil
}

func (s *Server) record(w http.ResponseWriter, r *http.Request, who caller) *problem {
	if p := s.keysKnown(); p != nil {
		return p
	}
	data, p := body(w, r)
	if p != nil {
		return p
	}
	in, p := s.receiveRecord(data, who.name)
	if p != nil {
		return p
	}
	answer, p := submit[core.StatusAnswer](s, r.Context(), in)
	if p != nil {
		return p
	}
	return s.status(w, answer)
}

func (s *Server) status(w http.ResponseWriter, a core.StatusAnswer) *problem {
	if a.Status == http.StatusNoContent {
		w.WriteHeader(a.Status)
		return nil
	}
	return refuse(a.Status, a.Reason)
}

// maxWait is how long a poll may be parked.
const maxWait = 60 * time.Second

// recheck is how often a poll asks again for a dispatch that is queued and could not be delivered: what was in the way
// passes by time alone, too.
const recheck = 5 * time.Second

// dispatch answers with the host's dispatch, or parks the poll until there is one.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, who caller) *problem {
	wait, p := waitOf(r)
	if p != nil {
		return p
	}
	have := r.URL.Query().Get("have")
	if len(have) > wire.MaxRolloutID {
		return refuse(http.StatusBadRequest, "have is longer than any rollout id")
	}
	wake, over, leave := s.config.Hub.Join(who.name)
	defer leave()
	deadline := s.config.Clock.NewTimer(wait)
	defer deadline.Stop()
	for {
		queued := s.config.Hub.Queued(who.name)
		if queued {
			answer, p := submit[core.PollAnswer](s, r.Context(), core.Poll{Host: who.name, Have: have})
			if p != nil {
				return p
			}
			if answer.Dispatch != nil {
				s.send(w, http.StatusOK, answer.Dispatch.Encode())
				return nil
			}
		}
		switch s.park(r.Context(), queued, wake, over, deadline.C) {
		case parkedOver:
			return refuse(http.StatusTooManyRequests, "another poll of this host took this one's place")
		case parkedEnd:
			w.WriteHeader(http.StatusNoContent)
			return nil
		case parkedAgain:
		}
	}
}

// what ended the parking of a poll.
type parked uint8

const (
	parkedAgain parked = iota // look again
	parkedOver                // another poll took its place
	parkedEnd                 // time is up, the client left, or the server stops
)

func (s *Server) park(ctx context.Context, queued bool, wake, over <-chan struct{}, deadline <-chan time.Time) parked {
	var again <-chan time.Time
	if queued {
		t := s.config.Clock.NewTimer(recheck)
		defer t.Stop()
		again = t.C
	}
	select {
	case <-wake:
	case <-again:
	case <-over:
		return parkedOver
	case <-deadline:
		return parkedEnd
	case <-ctx.Done():
		return parkedEnd
	case <-s.config.Stop.Done():
		return parkedEnd
	}
	return parkedAgain
}

// waitOf reads how many seconds a poll may wait, maxWait if it does not say.
func waitOf(r *http.Request) (time.Duration, *problem) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return maxWait, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "wait is a number of seconds")
	}
	return min(time.Duration(seconds)*time.Second, maxWait), nil
}
