// Package shape declares a sum type that another package switches over.
package shape

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
