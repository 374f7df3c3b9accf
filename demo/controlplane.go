package demo

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"nixfleet/clock"
	"nixfleet/controlplane"
	"nixfleet/keydir"
	"nixfleet/rollout"
)

// controlPlaneConfig is the control plane of the demo: as any other, with short rhythms.
func controlPlaneConfig(dir, address string) controlplane.Config {
	w := &world{dir: dir}
	keys := func(name string) string { return filepath.Join(w.keys(), name) }
	settings := rollout.DefaultSettings()
	settings.HeartbeatInterval = heartbeatSeconds * time.Second
	return controlplane.Config{
		Listen:         address,
		Database:       filepath.Join(w.cp(), "nixfleet.db"),
		DocumentsDir:   w.published(),
		TrustFile:      keys(keydir.TrustFile),
		ServerCert:     keys(keydir.Server + ".pem"),
		ServerKey:      keys(keydir.Server + ".key"),
		AgentCACert:    keys(keydir.AgentsCA + ".pem"),
		OperatorCACert: keys(keydir.OperatorsCA + ".pem"),
		Planner:        settings,
		DocumentsPoll:  500 * time.Millisecond,
		PlanInterval:   250 * time.Millisecond,
	}
}

// openControlPlane opens the demo's control plane; listener is nil for one that binds its address itself.
func openControlPlane(ctx context.Context, dir, address string, clk clock.Clock, log *slog.Logger, listener net.Listener) (*controlplane.ControlPlane, error) {
	return controlplane.New(ctx, controlPlaneConfig(dir, address), controlplane.Deps{Clock: clk, Logger: log, Listener: listener})
}

func actControlPlane(ctx context.Context, args []string, clk clock.Clock, log *slog.Logger) error {
	dir, address := args[0], args[1]
	cp, err := openControlPlane(ctx, dir, address, clk, log, nil)
	if err != nil {
		return err
	}
	return cp.Run(ctx)
}
