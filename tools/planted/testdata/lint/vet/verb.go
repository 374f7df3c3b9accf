// Package vet prints a word as a number.
package vet

import "fmt"

// Word prints.
func Word(s string) string { return fmt.Sprintf("%d", s) }
