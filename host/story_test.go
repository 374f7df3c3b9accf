package host_test

import (
	"time"

	"nixfleet/host"
)

// The cast of the tests in this package.
const (
	oldClosure   = "1111-web-old"
	newClosure   = "2222-web-new"
	otherClosure = "3333-web-other"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pending is a dispatch that its host has not accepted yet.
func pending() host.Record {
	return host.Record{
		RolloutID: "stable@abc", Hostname: "web-01", Channel: "stable", TargetClosure: newClosure, DispatchedAt: t0,
	}
}
