// Package agent matches texts.
package agent

import "strings"

// IsGone guesses.
func IsGone(err error) bool {
	return strings.Contains(err.Error(), "gone") || err.Error() == "gone"
}
