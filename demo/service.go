package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// service is the software that a host of the demo is there for: a real HTTP server whose behaviour is that of the
// release the host runs. It reads the release's configuration anew for every request, and answers 503 with the
// reason where it cannot.
type service struct {
	currentSystem string
	server        *http.Server
	url           string
	done          chan error
}

// startService serves on a loopback port of the kernel's choice.
func startService(currentSystem string) (*service, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo: service: %w", err)
	}
	s := &service{
		currentSystem: currentSystem,
		url:           "http://" + l.Addr().String() + "/",
		done:          make(chan error, 1),
	}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 5 * time.Second}
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

func (s *service) serve(w http.ResponseWriter, _ *http.Request) {
	config, err := s.config()
	if err != nil {
		http.Error(w, "cannot start: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	if _, err := fmt.Fprintf(w, "%s (%s)\n", config.Greeting, config.Version); err != nil {
		return // the one who asked has gone
	}
}

func (s *service) config() (serviceConfig, error) {
	data, err := os.ReadFile(filepath.Join(s.currentSystem, "etc", "service.json"))
	if err != nil {
		return serviceConfig{}, err
	}
	var config serviceConfig
	if err := json.Unmarshal(data, &config); err != nil {
		return serviceConfig{}, fmt.Errorf("service.json: %w", err)
	}
	return config, nil
}

// stop ends the service and waits for it.
func (s *service) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if serveErr := <-s.done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
