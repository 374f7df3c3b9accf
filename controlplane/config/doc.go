// Package config reads the control plane's settings.
//
//	settings, err := config.Load(args, os.Environ())
//	cp, err := controlplane.New(ctx, settings.Config, deps)
//
// Every setting is a key of one TOML file, a flag and an environment variable, from one table (keys.go): the flag
// beats the environment, which beats the file, which beats the default. What is not understood is refused with the
// key, the value and what is allowed; every refusal is told, not only the first.
//
// Settings are a plain value. Implements docs/design/07-control-plane.md. Tests are tables of refusals.
package config
