// Package middle is the detour.
package middle

import _ "nixfleet/controlplane"
