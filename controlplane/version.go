package controlplane

// Version of the control plane. A release build sets it with -ldflags "-X nixfleet/controlplane.Version=...".
var Version = "dev"
