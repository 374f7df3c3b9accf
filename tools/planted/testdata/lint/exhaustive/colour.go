// Package exhaustive leaves a value out of an enum's switch, and hides it behind a default.
package exhaustive

// Colour is an enum.
type Colour int

// The colours.
const (
	Red Colour = iota
	Green
)

// Name forgets green.
func Name(c Colour) string {
	switch c {
	case Red:
		return "red"
	default:
		return "?"
	}
}
