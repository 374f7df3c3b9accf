// Package sumtypeabroad forgets a variant of a sum type that it did not declare:
// linters that look at one package at a time do not see this one.
package sumtypeabroad

import "nixfleet/tools/planted/testdata/lint/sumtypeabroad/shape"

// Name forgets the square.
func Name(s shape.Shape) string {
	switch s.(type) {
	case shape.Circle:
		return "circle"
	}
	return "?"
}
