// Package config reads the agent's settings and judges whether a machine fits them.
//
//	cfg, err := config.Load(os.Args[1:], os.Environ())
//
// Every setting is a key of one TOML file, a flag and an environment variable, from one table (keys.go): the flag
// beats the environment, which beats the file, which beats the default. What is not understood is refused with the
// key, the value and what is allowed; nothing is guessed.
//
// [Check] looks at the machine as `nixfleet-agent check` does and gives one line per finding.
//
// A Config is a plain value: read it from any goroutine, change it before handing it on. Everything here implements
// docs/design/04-agent.md, 4.5. Tests are tables of refusals with their exact messages, and real files, keys and
// listeners for Check.
package config
