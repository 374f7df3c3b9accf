// Package host is a clean pure package.
package host

import "time"

// Due is pure: the time comes in.
func Due(now, due time.Time) bool { return !now.Before(due) }
