package acceptance_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/internal/fleettest"
	"nixfleet/release"
	"nixfleet/trust"
	"nixfleet/wire"
)

// liar is a control plane with the right certificate that says whatever a test wants. What the test leaves alone is
// answered as an honest one would: tickets as they are published, and 204 to every event.
type liar struct {
	t testing.TB
	s *fleettest.Site

	mu       sync.Mutex
	dispatch []byte // of the next poll, nil: none
	once     bool   // it is served one time only
	polls    int    // that were given a dispatch
	idle     int    // that were not
	tickets  map[string]release.Document
	answer   wire.HeartbeatAnswer
	raw      *reply // instead of the answer to a heartbeat
	events   *reply // instead of the answer to events
	beats    []wire.Heartbeat
	received map[string]int // how often each event came, by rollout and canonical bytes
}

// reply is an answer without any sense.
type reply struct {
	status int
	body   string
	header map[string]string
}

// lying gives a site whose hosts meet a liar, and the closure that host a has converged on, by honest words.
func lying(t *testing.T) (s *fleettest.Site, l *liar, v1 string) {
	t.Helper()
	s = fleettest.New(t, "a", "b")
	l = lie(s)
	v1 = s.Build("v1")
	id := s.Publish(fleettest.Release{Ref: "v1", Closure: v1})
	l.say(l.honest(id))
	a := s.Host("a")
	a.Start()
	a.UntilState(id, host.Converged)
	return s, l, v1
}

// lie starts a liar where the hosts of a site look for their control plane.
func lie(s *fleettest.Site) *liar {
	s.T.Helper()
	l := &liar{t: s.T, s: s, tickets: map[string]release.Document{}, received: map[string]int{}}
	l.start()
	return l
}

func (l *liar) start() {
	l.t.Helper()
	listener, err := net.Listen("tcp", l.s.Address())
	if err != nil {
		l.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathDispatch, l.poll)
	mux.HandleFunc("GET "+wire.PathTickets+"{rollout}", l.ticket)
	mux.HandleFunc("GET "+wire.PathTickets+"{rollout}"+wire.PathSig, l.signature)
	mux.HandleFunc("POST "+wire.PathBeat, l.beat)
	mux.HandleFunc("POST "+wire.PathEvents, l.event)
	mux.HandleFunc("POST "+wire.PathBatch, l.batch)
	mux.HandleFunc("POST "+wire.PathRecord, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(wire.HeaderProtocol, wire.ProtocolVersion)
			w.Header().Set(wire.HeaderFeatures, wire.AllFeatures)
			mux.ServeHTTP(w, r)
		}),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{l.s.ServerCertificate()}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13},
		ReadHeaderTimeout: fleettest.Limit,
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	l.t.Cleanup(func() {
		err := server.Close()
		if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		if err != nil {
			l.t.Error(err)
		}
	})
}

// honest is the dispatch that a control plane would send host a.
func (l *liar) honest(rolloutID string) wire.Dispatch {
	l.t.Helper()
	ticket, err := fleet.ParseTicket(l.published(rolloutID, "a").Raw)
	if err != nil {
		l.t.Fatal(err)
	}
	now := l.s.Clock.Now().Wall
	return wire.Dispatch{
		Hostname: "a", RolloutID: rolloutID, TargetClosure: ticket.TargetClosure, EnqueuedAt: now,
		SoakDueAt: now.Add(time.Duration(ticket.SoakSeconds) * time.Second), Wave: ticket.Wave, HasWave: true,
	}
}

// published is the ticket as it is published now.
func (l *liar) published(rolloutID, name string) release.Document {
	l.t.Helper()
	id, err := fleet.ParseRolloutID(rolloutID)
	if err != nil {
		l.t.Fatal(err)
	}
	doc, err := l.s.Documents().Ticket(id, name)
	if err != nil {
		l.t.Fatal(err)
	}
	return doc
}

// say answers polls with a dispatch from now on.
func (l *liar) say(d wire.Dispatch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatch, l.once = d.Encode(), false
}

// blurt answers one poll with anything, and waits for the one after it, which is answered in good order: otherwise the
// agent would wait longer and longer between them.
func (l *liar) blurt(body string) {
	l.t.Helper()
	n, idle := 0, 0
	l.change(func() {
		l.dispatch, l.once = []byte(body), true
		n = l.polls
	})
	l.s.Until("the garbage was served", func(context.Context) (bool, string, error) {
		done := false
		l.change(func() { done, idle = l.polls > n, l.idle })
		return done, "", nil
	})
	l.s.Until("the agent asked again", func(context.Context) (bool, string, error) {
		done := false
		l.change(func() { done = l.idle > idle })
		return done, "", nil
	})
}

// forge serves another document as the ticket of a rollout.
func (l *liar) forge(rolloutID string, doc release.Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets[rolloutID] = doc
}

// change changes anything else.
func (l *liar) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *liar) served() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.polls
}

// count says how often an event came.
func (l *liar) count(e fleettest.Event) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received[e.RolloutID+" "+e.Canonical]
}

// heard gives the heartbeats since the nth.
func (l *liar) heard(n int) []wire.Heartbeat {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beats[n:]
}

// patience is how long a poll without a dispatch is held: short, so that the next lie is heard soon.
const patience = 100 * time.Millisecond

func (l *liar) poll(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	body := l.dispatch
	if body != nil {
		l.polls++
	}
	if body == nil {
		l.idle++
	}
	if l.once {
		l.dispatch, l.once = nil, false
	}
	l.mu.Unlock()
	if body == nil {
		t := l.s.Clock.NewTimer(patience)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	l.write(w, reply{status: http.StatusOK, body: string(body)})
}

// write writes an answer; one whose reader has gone is of no interest.
func (l *liar) write(w http.ResponseWriter, a reply) {
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	if _, err := io.WriteString(w, a.body); err != nil {
		return
	}
}

func (l *liar) document(r *http.Request) (release.Document, error) {
	text, err := url.PathUnescape(r.PathValue("rollout"))
	if err != nil {
		return release.Document{}, err
	}
	l.mu.Lock()
	doc, forged := l.tickets[text]
	l.mu.Unlock()
	if forged {
		return doc, nil
	}
	id, err := fleet.ParseRolloutID(text)
	if err != nil {
		return release.Document{}, err
	}
	return l.s.Documents().Ticket(id, "a")
}

func (l *liar) ticket(w http.ResponseWriter, r *http.Request) {
	doc, err := l.document(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	l.write(w, reply{status: http.StatusOK, body: string(doc.Raw)})
}

func (l *liar) signature(w http.ResponseWriter, r *http.Request) {
	doc, err := l.document(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	l.write(w, reply{status: http.StatusOK, body: string(doc.Sig)})
}

func (l *liar) beat(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h, err := wire.DecodeHeartbeat(data)
	if err != nil {
		l.t.Errorf("heartbeat: %v", err)
		return
	}
	l.mu.Lock()
	l.beats = append(l.beats, h)
	answer := l.answer
	raw := l.raw
	l.mu.Unlock()
	if raw != nil {
		l.write(w, *raw)
		return
	}
	answer.ReceivedAt = l.s.Clock.Now().Wall
	l.write(w, reply{status: http.StatusOK, body: string(answer.Encode())})
}

// take keeps an event and gives what was asked to be said to it.
func (l *liar) take(data []byte) (wire.Envelope, *reply) {
	e, err := wire.DecodeEnvelope(data)
	if err != nil {
		l.t.Errorf("envelope: %v", err)
	}
	canonical, err := trust.Canonical(e.RawEvent)
	if err != nil {
		l.t.Errorf("event: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received[e.RolloutID+" "+string(canonical)]++
	return e, l.events
}

func (l *liar) event(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if _, lie := l.take(data); lie != nil {
		l.write(w, *lie)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (l *liar) batch(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	envelopes, err := wire.SplitBatch(data)
	if err != nil {
		l.t.Errorf("batch: %v", err)
		return
	}
	results := make([]wire.BatchResult, len(envelopes))
	for i, raw := range envelopes {
		e, lie := l.take(raw)
		if lie != nil {
			l.write(w, *lie)
			return
		}
		results[i] = wire.BatchResult{RolloutID: e.RolloutID, Seq: e.Seq, Status: http.StatusNoContent}
	}
	l.write(w, reply{status: http.StatusOK, body: string(wire.EncodeBatchResults(results))})
}

// untilRefused waits for a heartbeat that names the refusal of a rollout's dispatch, for that reason.
func (l *liar) untilRefused(rolloutID string, why error) {
	l.t.Helper()
	l.s.Until(rolloutID+" is refused", func(context.Context) (bool, string, error) {
		last := "no refusal"
		for _, h := range l.heard(0) {
			if h.Refused == nil || h.Refused.RolloutID != rolloutID {
				continue
			}
			if last = h.Refused.Reason; strings.Contains(last, why.Error()) {
				return true, "", nil
			}
		}
		return false, last, nil
	})
}

// untilHeard waits for two whole heartbeats: by the second one the answer to the first was followed.
func (l *liar) untilHeard() {
	l.t.Helper()
	n := len(l.heard(0))
	l.s.Until("two heartbeats", func(context.Context) (bool, string, error) {
		return len(l.heard(n)) > 2, "", nil
	})
}
