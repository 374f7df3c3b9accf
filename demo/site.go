package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"nixfleet/agent/activation"
)

// version is one version of the demo's software, as a closure that the directory backend can switch to.
type version struct {
	ref     string
	closure string
}

// serviceConfig is what a release says about the service: the file etc/service.json in its tree.
type serviceConfig struct {
	Version  string `json:"version"`
	Greeting string `json:"greeting"`
}

// switchScript is run by the directory backend's helper when a host switches to a release. The service reads its
// configuration from current-system on every request, so there is nothing to restart.
const switchScript = "#!/bin/sh\necho \"configuration of $NIXFLEET_CLOSURE is in place\"\n"

// buildRelease puts a release into the shared folder that hosts copy from. A broken one carries a configuration
// that the service cannot read, as a careless edit would leave it.
func (w *world) buildRelease(ref string, broken bool) (version, error) {
	src, err := os.MkdirTemp(w.dir, "build-")
	if err != nil {
		return version{}, fmt.Errorf("demo: build %s: %w", ref, err)
	}
	closure, err := fillRelease(src, w.releases(), ref, broken)
	if rmErr := os.RemoveAll(src); err == nil && rmErr != nil {
		err = rmErr
	}
	if err != nil {
		return version{}, fmt.Errorf("demo: build %s: %w", ref, err)
	}
	return version{ref: ref, closure: closure}, nil
}

func fillRelease(src, store, ref string, broken bool) (string, error) {
	config, err := json.MarshalIndent(serviceConfig{Version: ref, Greeting: "hello from " + ref}, "", "  ")
	if err != nil {
		return "", err
	}
	if broken {
		config = config[:len(config)-2] // the closing brace is missing
	}
	files := []struct {
		path string
		body []byte
		mode os.FileMode
	}{
		{"bin/switch-to-configuration", []byte(switchScript), 0o755},
		{"etc/service.json", append(config, '\n'), 0o644},
	}
	for _, f := range files {
		path := filepath.Join(src, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, f.body, f.mode); err != nil {
			return "", err
		}
	}
	return activation.AddRelease(store, src, "demo-"+ref)
}
