// Package agent is not pure.
package agent
