// Package agent is on one machine only.
package agent

// Dir is at home.
const Dir = "/work/main"
