// Package staticcheck compiles what is no pattern, and holds a function nobody calls.
package staticcheck

import "regexp"

// Pattern panics when the program starts.
var Pattern = regexp.MustCompile("(")

func unused() {}
