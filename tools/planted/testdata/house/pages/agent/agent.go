// Package agent implements docs/design/99-nowhere.md.
package agent
