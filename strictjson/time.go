package strictjson

import (
	"fmt"
	"strings"
	"time"
)

// ParseTime reads an RFC 3339 time that carries an offset and gives it in UTC. The year must be from 1 to 9999, so
// that what is read can be written again, and the first instant of year 1 is refused because it means "no time" in
// Go. Digits beyond nanoseconds are dropped.
func ParseTime(s string) (time.Time, error) {
	if !shapedAsTime(s) {
		return time.Time{}, fmt.Errorf("strictjson: %q has not the shape of an RFC 3339 time", clip(s))
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("strictjson: %w", err)
	}
	t = t.UTC()
	if t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
		return time.Time{}, fmt.Errorf("strictjson: year of %q out of range", clip(s))
	}
	return t, nil
}

// timeShape is an RFC 3339 time up to its seconds, with 0 for any digit.
const timeShape = "0000-00-00T00:00:00"

// shapedAsTime holds s to the form of RFC 3339, of which package time takes liberties: it reads a comma for the decimal
// point, hours of one digit, and offsets of a day and more.
func shapedAsTime(s string) bool {
	if len(s) <= len(timeShape) || !shapedAs(timeShape, s[:len(timeShape)]) {
		return false
	}
	rest := s[len(timeShape):]
	if rest[0] == '.' {
		digits := len(rest) - 1 - len(strings.TrimLeft(rest[1:], "0123456789"))
		if digits == 0 {
			return false
		}
		rest = rest[1+digits:]
	}
	if rest == "Z" {
		return true
	}
	const offset = "+00:00"
	if len(rest) != len(offset) || rest[0] != '+' && rest[0] != '-' || !shapedAs(offset[1:], rest[1:]) {
		return false
	}
	return rest[1:3] <= "23" && rest[4:] <= "59"
}

// shapedAs says whether s, of the same length, has a digit wherever shape has a 0 and is like it elsewhere.
func shapedAs(shape, s string) bool {
	for i := range len(shape) {
		digit := s[i] >= '0' && s[i] <= '9'
		if shape[i] == '0' && !digit || shape[i] != '0' && s[i] != shape[i] {
			return false
		}
	}
	return true
}
