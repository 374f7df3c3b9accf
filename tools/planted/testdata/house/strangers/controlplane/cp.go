// Package controlplane imports the agent.
package controlplane

import _ "nixfleet/agent/probe"
