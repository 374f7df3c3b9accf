package probe

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxReason is how many bytes of a failure reason are kept: enough for one sentence of any program, little
	// enough for a batch of 256 of them to stay far below a body's limit.
	maxReason = 512
	truncated = "...[truncated]"
)

// Reason makes a failure reason of any text: valid UTF-8, never empty, and, where it is longer than 512 bytes, cut
// between two runes and marked.
func Reason(s string) string {
	long := len(s) > maxReason
	s = strings.ToValidUTF8(s[:min(len(s), maxReason+utf8.UTFMax)], "?")
	if s == "" {
		return "failed without a reason"
	}
	if len(s) <= maxReason && !long {
		return s
	}
	cut := min(len(s), maxReason)
	for cut < len(s) && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + truncated
}
