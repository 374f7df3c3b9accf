// Package gofumpt is as gofmt likes it, and not as gofumpt does.
package gofumpt

// Loose starts with an empty line.
func Loose() int {

	return 1
}
