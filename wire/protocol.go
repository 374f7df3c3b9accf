package wire

import "strings"

// ProtocolVersion is the major version both sides name in HeaderProtocol; another one is answered with 426.
const ProtocolVersion = "1"

// Headers of the protocol.
const (
	HeaderProtocol   = "X-Nixfleet-Protocol"
	HeaderFeatures   = "X-Nixfleet-Features"
	HeaderReplayFrom = "X-Nixfleet-Replay-From"
)

// Paths of the agent's calls. That of a ticket is followed by the rollout id, and by PathSig for its signature.
const (
	PathDispatch = "/v1/agent/dispatch"
	PathEvents   = "/v1/agent/events"
	PathBatch    = "/v1/agent/events/batch"
	PathBeat     = "/v1/agent/heartbeat"
	PathRecord   = "/v1/agent/record"
	PathTickets  = "/v1/agent/tickets/"
	PathRenew    = "/v1/agent/renew"
	PathEnroll   = "/v1/enroll"
	PathFleet    = "/v1/fleet.resolved"
	PathRollouts = "/v1/rollouts/"
	PathSig      = "/sig"
)

// Features a control plane announces in HeaderFeatures. One that sends the header at all has tickets.
const (
	FeatureRollbackFailed = "rollback-failed" // takes the event RollbackFailed
	FeatureTickets        = "tickets"         // serves one ticket per host and rollout
	FeatureBatch          = "batch"           // takes batches of events
	FeatureRecord         = "record"          // takes whole records
)

// AllFeatures is the header of a control plane that has all of them.
const AllFeatures = FeatureRollbackFailed + ", " + FeatureTickets + ", " + FeatureBatch + ", " + FeatureRecord

// maxFeatures bounds a header that lists features, in bytes: it is read on every answer.
const maxFeatures = 1024

// Features is a set of announced features; the zero value is that of an original control plane, which has none.
type Features struct{ list string }

// ParseFeatures reads HeaderFeatures, a comma-separated list. Unknown features are kept; a header beyond 1 KiB counts
// as none.
func ParseFeatures(header string) Features {
	if len(header) > maxFeatures {
		return Features{}
	}
	return Features{header}
}

// Has says whether feature was announced.
func (f Features) Has(feature string) bool {
	for entry := range strings.SplitSeq(f.list, ",") {
		if strings.TrimSpace(entry) == feature {
			return true
		}
	}
	return false
}
