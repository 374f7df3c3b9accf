// Package sumtype leaves a variant out of a type switch, and hides it behind a default.
package sumtype

// Shape is a sealed interface.
//
//sumtype:decl
type Shape interface{ isShape() }

// Circle is one variant.
type Circle struct{}

// Square is the other, which Name forgets.
type Square struct{}

func (Circle) isShape() {}
func (Square) isShape() {}

// Name forgets the square.
func Name(s Shape) string {
	switch s.(type) {
	case Circle:
		return "circle"
	default:
		return "?"
	}
}
