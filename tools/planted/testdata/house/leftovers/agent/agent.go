// Package agent is half done.
package agent

import "errors"

// TODO: the rest.
var errLater = errors.New("agent: not implemented")
