package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// shutdownGrace is how long a scrape that is under way may still take.
const shutdownGrace = time.Second

// serve answers /healthz, /readyz and /metrics on loopback, where that is asked for.
func (a *Agent) serve(ctx context.Context, all *sync.WaitGroup) error {
	if a.cfg.MetricsListen == "" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.MetricsListen)
	if err != nil {
		return fmt.Errorf("agent: metricsListen: %w", err)
	}
	srv := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: callTimeout, WriteTimeout: callTimeout, MaxHeaderBytes: 16 << 10}
	all.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("metrics listener", "error", err)
		}
	})
	all.Go(func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			a.log.Debug("metrics listener", "error", err)
		}
	})
	return nil
}

// Handler serves /healthz, /readyz and /metrics. docs/design/03-wire-protocol.md.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	text := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		if _, err := fmt.Fprintln(w, body); err != nil {
			a.log.Debug("metrics listener", "error", err)
		}
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := a.status.degraded(); why != "" {
			text(w, http.StatusServiceUnavailable, why)
			return
		}
		text(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		v := a.view.Load()
		a.metrics.set("outbox_depth", float64(v.Depth))
		a.metrics.set("dead_letters_kept", float64(v.Refused))
		a.metrics.set("journal_bytes", float64(a.journal.Size()))
		drifted := 0.0
		if v.Drifted != "" {
			drifted = 1
		}
		a.metrics.set("drifted", drifted)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if err := a.metrics.writeTo(w); err != nil {
			a.log.Debug("metrics listener", "error", err)
		}
	})
	return mux
}

// notify speaks to systemd.
func (a *Agent) notify(line string) { a.status.tell(line) }

func (a *Agent) notifyReady() {
	if a.status.degraded() == "" {
		a.notify("READY=1\nSTATUS=running")
		return
	}
	a.notify("READY=1")
}
