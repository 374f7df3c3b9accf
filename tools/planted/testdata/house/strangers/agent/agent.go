// Package agent reaches the control plane by a detour.
package agent

import _ "nixfleet/middle"
