package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"nixfleet/controlplane/api"
	"nixfleet/controlplane/source"
	"nixfleet/controlplane/store"
	"nixfleet/release"
	"nixfleet/trust/pki"
)

// Bounds of a connection. A poll is parked for at most a minute, a body of a megabyte takes a slow line less than one.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 60 * time.Second
	writeTimeout    = 150 * time.Second // a fleet of 32 MiB over a slow line, and a parked poll
	idleTimeout     = 120 * time.Second
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 10 * time.Second
)

// readKeys reads the server's certificate and the roots of its clients.
func (cp *ControlPlane) readKeys() error {
	keyPEM, err := pki.ReadPrivate(cp.config.ServerKey)
	if err != nil {
		return err
	}
	certPEM, err := os.ReadFile(cp.config.ServerCert)
	if err != nil {
		return fmt.Errorf("controlplane: server certificate: %w", err)
	}
	if cp.server, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return fmt.Errorf("controlplane: server certificate: %w", err)
	}
	if cp.roots.Agents, err = pki.LoadPool(cp.config.AgentCACert); err != nil {
		return err
	}
	cp.roots.Operators, err = pki.LoadPool(cp.config.OperatorCACert)
	return err
}

// served is one HTTP server with its listener.
type served struct {
	*http.Server
	listener net.Listener
}

// serve serves until ctx ends, then lets the handlers end.
func (s served) serve(ctx context.Context) error {
	stopped := make(chan error, 1)
	end := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err := s.Shutdown(late)
		if err != nil {
			err = errors.Join(err, s.Close())
		}
		stopped <- err
	})
	err := s.Serve(s.listener)
	if end() { // it ended by itself
		return fmt.Errorf("controlplane: serve %s: %w", s.listener.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("controlplane: shut down: %w", err)
	}
	return nil
}

func (cp *ControlPlane) servers(ctx context.Context) []served {
	handler := api.New(api.Config{
		Roots: cp.roots, Reducer: cp.reducer, Hub: cp.reducer.hub, Log: cp.deps.Store, Tickets: tickets{cp},
		Documents: cp.documents.Load, Revocations: cp.revocations.Load, Clock: cp.deps.Clock, Logger: cp.deps.Logger, Stop: ctx,
	})
	errorLog := slog.NewLogLogger(cp.deps.Logger.Handler(), slog.LevelDebug) // handshakes of strangers
	tlsConfig := cp.roots.TLSConfig(cp.server, func() time.Time { return cp.deps.Clock.Now().Wall })
	list := []served{{&http.Server{
		Handler: handler, ConnContext: api.ConnContext, ErrorLog: errorLog, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}, tls.NewListener(cp.deps.Listener, tlsConfig)}}
	if cp.deps.MetricsListener != nil {
		list = append(list, served{&http.Server{
			Handler: cp.watched(), ErrorLog: errorLog, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: readTimeout,
			IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		}, cp.deps.MetricsListener})
	}
	return list
}

// watched is what watches over this process ask for.
func (cp *ControlPlane) watched() http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		if _, err := io.WriteString(w, text+"\n"); err != nil {
			cp.deps.Logger.Debug("answer not delivered", "error", err)
		}
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reason := cp.isReady(); reason != "" {
			say(w, http.StatusServiceUnavailable, reason)
			return
		}
		say(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(cp.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// tickets serves tickets from the source as it is now, since a refreshed signature is what a host needs; one that the
// source has no longer, as it was captured when it was dispatched.
type tickets struct{ cp *ControlPlane }

func (t tickets) Ticket(ctx context.Context, rolloutID, host string) (raw, signature []byte, hash string, err error) {
	now := t.cp.deps.Clock.Now().Wall
	v, err := t.cp.keeper.Ticket(rolloutID, host, now)
	if errors.Is(err, source.ErrNotFound) {
		captured, stored := t.cp.deps.Store.Ticket(ctx, rolloutID, host)
		if errors.Is(stored, store.ErrNotFound) {
			return nil, nil, "", api.ErrNoTicket
		}
		if stored != nil {
			return nil, nil, "", stored
		}
		v, err = t.cp.keeper.VerifyTicket(release.Document{Raw: captured.Raw, Sig: captured.Signature}, rolloutID, host, now)
	}
	if err != nil {
		return nil, nil, "", err
	}
	return v.Raw(), v.Signature(), v.Hash(), nil
}
