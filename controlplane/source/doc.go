// Package source brings the signed documents into the control plane.
//
//	dir := source.NewDirectory("/srv/nixfleet")             // the published layout
//	keeper := source.NewKeeper(dir, trustFile)
//	documents, changed, err := keeper.Refresh(now)          // verified; what is bad keeps its last good
//	ticket, err := keeper.Ticket(rolloutID, host, now)      // one, verified
//
// Nothing comes out that was not verified: a document that is malformed, signed by the wrong key or of another
// rollout never takes the place of a good one, and Refresh says which and why. Age is not checked here: mirroring goes
// on with stale documents, and what may be dispatched with them the planner decides.
//
// Refresh belongs to one goroutine; everything else may be called from any.
//
// Implements docs/design/05-trust.md and the sources of docs/design/07-control-plane.md. Tests: each way in which a
// document can be bad, beside good ones.
package source
