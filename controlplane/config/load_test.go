package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nixfleet/controlplane/config"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cp.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlagBeatsTheEnvironmentWhichBeatsTheFileWhichBeatsTheDefault(t *testing.T) {
	path := file(t, "listen = \"127.0.0.1:1\"\ndatabase = \"/file\"\ntrustFile = \"/file\"\nplanSeconds = 0.5\nofflineAfterSeconds = 7\n")
	s, err := config.Load([]string{"--config", path, "--listen", "127.0.0.1:3"}, []string{"NIXFLEET_CP_LISTEN=127.0.0.1:2", "NIXFLEET_CP_DATABASE=/env", "OTHER=1"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:3" || s.Database != "/env" || s.TrustFile != "/file" || s.LogLevel != "info" {
		t.Errorf("%+v", s)
	}
	if s.PlanInterval != 500*time.Millisecond || s.Planner.OfflineAfter != 7*time.Second || s.Planner.HeartbeatInterval != time.Minute {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsNotUnderstoodIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		args, env []string
		file      string
		names     string
	}{
		{file: "listem = \"x\"", names: "listem"},
		{file: "listen = 3", names: "listen"},
		{file: "planSeconds = \"1\"", names: "planSeconds"},
		{file: "planSeconds = 0", names: "planSeconds"},
		{file: "planSeconds = nan", names: "planSeconds"},
		{file: "database = \"relative\"", names: "database"},
		{file: "database = \"\"", names: "database"},
		{file: "metricsListen = \"0.0.0.0:1\"", names: "metricsListen"},
		{file: "logLevel = \"loud\"", names: "logLevel"},
		{file: "listen = ", names: "cp.toml"},
		{env: []string{"NIXFLEET_CP_LISTEM=x"}, names: "NIXFLEET_CP_LISTEM"},
		{args: []string{"--listem", "x"}, names: "listem"},
		{args: []string{"extra"}, names: "extra"},
		{env: []string{"NIXFLEET_CP_CONFIG=/nowhere/cp.toml"}, names: "/nowhere/cp.toml"},
	} {
		args := c.args
		if c.file != "" {
			args = append([]string{"--config", file(t, c.file)}, args...)
		}
		_, err := config.Load(args, c.env)
		if !errors.Is(err, config.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, c.names) {
			t.Errorf("%+v: %v does not name it", c, err)
		}
	}
}

func TestMetricsMayBeOff(t *testing.T) {
	s, err := config.Load([]string{"--config", file(t, "metricsListen = \"\"")}, nil)
	if err != nil || s.MetricsListen != "" {
		t.Errorf("%q %v", s.MetricsListen, err)
	}
}
