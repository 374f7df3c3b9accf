// Package fleet imports what is not pure.
package fleet

import _ "nixfleet/agent"

// Plan does nothing.
func Plan() {}
