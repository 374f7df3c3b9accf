package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"nixfleet/clock"
	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/fleet"
	"nixfleet/wire"
)

// The errors of a Reducer.
var (
	ErrBusy        = errors.New("api: the control plane is behind")
	ErrUnavailable = errors.New("api: the control plane cannot write now")
)

// Reducer takes inputs. Its answer comes once the commit is durable.
type Reducer interface {
	Submit(ctx context.Context, in core.Input) (core.Answer, error)
}

// Hub parks polls until their host has a dispatch.
type Hub interface {
	Join(host string) (wake, over <-chan struct{}, leave func())
	Queued(host string) bool
}

// Log reads the event log.
type Log interface {
	Trace(ctx context.Context, host, rolloutID string, after uint64, visit func(*ledger.Row) error) error
}

// Tickets gives tickets as they were published.
type Tickets interface {
	// Ticket returns a verified ticket and the hash of its canonical bytes, or ErrNoTicket.
	Ticket(ctx context.Context, rolloutID, host string) (raw, signature []byte, hash string, err error)
}

// ErrNoTicket means that there is no ticket of that host in that rollout.
var ErrNoTicket = errors.New("api: no such ticket")

// Config is what a Server needs.
type Config struct {
	Roots       Roots
	Reducer     Reducer
	Hub         Hub
	Log         Log
	Tickets     Tickets
	Documents   func() *core.Documents // in force now; nil before the first
	Revocations func() *fleet.Revocations
	Clock       clock.Clock
	Logger      *slog.Logger
	// Stop, when it is done, ends the parked polls: a server that shuts down waits for its handlers.
	Stop context.Context
}

// Server is the control plane's HTTP side.
type Server struct {
	config Config
	mux    *http.ServeMux
}

// New makes the server.
func New(c Config) *Server {
	s := &Server{config: c, mux: http.NewServeMux()}
	s.agentRoutes()
	s.documentRoutes()
	s.operatorRoutes()
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) now() time.Time { return s.config.Clock.Now().Wall }

// problem is an answer that is not a success.
type problem struct {
	status     int
	body       wire.Problem
	retryAfter time.Duration
}

func (p *problem) Error() string { return "api: " + strconv.Itoa(p.status) + ": " + p.body.Error }

func refuse(status int, reason string) *problem {
	return &problem{status: status, body: wire.Problem{Error: reason}}
}

// retryAfter is when a busy control plane may be asked again; agents add their own jitter.
const retryAfter = 2 * time.Second

func (s *Server) write(w http.ResponseWriter, p *problem) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	if p.body.HasReplayFrom {
		w.Header().Set(wire.HeaderReplayFrom, strconv.FormatUint(p.body.ReplayFrom, 10))
	}
	if p.status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", "nixfleet/"+wire.ProtocolVersion)
	}
	s.send(w, p.status, p.body.Encode())
}

// send writes a JSON answer. A client that left is not an error here: it will ask again.
func (s *Server) send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.config.Logger.Debug("answer not delivered", "error", err)
	}
}

func (s *Server) sendValue(w http.ResponseWriter, v any) *problem {
	body, err := json.Marshal(v)
	if err != nil {
		s.config.Logger.Error("answer not encoded", "error", err)
		return refuse(http.StatusInternalServerError, "the answer could not be encoded")
	}
	s.send(w, http.StatusOK, body)
	return nil
}

// submit passes an input on and turns what went wrong into an answer.
func submit[A core.Answer](s *Server, ctx context.Context, in core.Input) (A, *problem) {
	var none A
	got, err := s.config.Reducer.Submit(ctx, in)
	switch {
	case errors.Is(err, ErrBusy):
		return none, &problem{status: http.StatusServiceUnavailable, body: wire.Problem{Error: "too many requests are waiting"}, retryAfter: retryAfter}
	case err != nil:
		return none, &problem{status: http.StatusServiceUnavailable, body: wire.Problem{Error: "nothing can be written now"}, retryAfter: retryAfter}
	}
	answer, ok := got.(A)
	if !ok {
		s.config.Logger.Error("answer of another kind", "got", fmt.Sprintf("%T", got), "want", fmt.Sprintf("%T", none))
		return none, refuse(http.StatusInternalServerError, "the answer was of another kind")
	}
	return answer, nil
}

// body reads a body of at most wire.MaxBody.
func body(w http.ResponseWriter, r *http.Request) ([]byte, *problem) {
	if r.ContentLength > wire.MaxBody {
		return nil, refuse(http.StatusRequestEntityTooLarge, tooLarge)
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(http.StatusRequestEntityTooLarge, tooLarge)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body could not be read")
	}
	return data, nil
}

var tooLarge = fmt.Sprintf("a body has at most %d bytes", wire.MaxBody)
