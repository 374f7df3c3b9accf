// Package agent leaves its arrow to host unused.
package agent
