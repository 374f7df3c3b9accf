// Package novel is not on the map.
package novel
