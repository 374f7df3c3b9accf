// Package host draws an arrow that is not on the map.
package host

import _ "nixfleet/agent"
