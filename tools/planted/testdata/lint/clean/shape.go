// Package clean is what every check accepts.
package clean

import (
	"errors"
	"fmt"
)

// ErrUnknownShape is returned for a shape that Name does not know.
var ErrUnknownShape = errors.New("clean: unknown shape")

// Shape is a sealed interface.
//
//sumtype:decl
type Shape interface{ isShape() }

// Circle is one variant.
type Circle struct{}

// Square is the other.
type Square struct{}

func (Circle) isShape() {}
func (Square) isShape() {}

// Name knows both.
func Name(s Shape) (string, error) {
	switch s.(type) {
	case Circle:
		return "circle", nil
	case Square:
		return "square", nil
	}
	return "", fmt.Errorf("%w: %T", ErrUnknownShape, s)
}

// Colour is an enum.
type Colour int

// The colours.
const (
	Red Colour = iota
	Green
)

// Hue knows both.
func Hue(c Colour) int {
	switch c {
	case Red:
		return 0
	case Green:
		return 120
	}
	return -1
}
