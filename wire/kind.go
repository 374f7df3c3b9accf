package wire

import (
	"fmt"

	"nixfleet/host"
	"nixfleet/strictjson"
)

// kind is the place of an event type in the table of kinds.
type kind uint8

const (
	kindActivate kind = iota
	kindActivationStarted
	kindActivationCompleted
	kindActivationDeferred
	kindActivationFailed
	kindProbeTopologyDeclared
	kindProbeObservedFirst
	kindProbeResult
	kindProbeFailureFirst
	kindSustainedFailureCrossed
	kindRollbackCompleted
	kindRollbackFailed
	kindConvergedReached
)

// kinds is the one table of event kinds: for every type its name on the wire, its names with the origin, and how its
// body is read. In the order of docs/design/02-host-state-machine.md, section 2.2.
var kinds = [...]struct {
	wire, local, remote string
	decode              func(*strictjson.Object) host.Event
}{
	kindActivate:                {"DispatchAck", "LocalActivate", "RemoteDispatchAck", decodeActivate},
	kindActivationStarted:       {"ActivationStarted", "LocalActivationStarted", "RemoteActivationStarted", decodeActivationStarted},
	kindActivationCompleted:     {"ActivationCompleted", "LocalActivationCompleted", "RemoteActivationCompleted", decodeActivationCompleted},
	kindActivationDeferred:      {"ActivationDeferred", "LocalActivationDeferred", "RemoteActivationDeferred", decodeActivationDeferred},
	kindActivationFailed:        {"ActivationFailed", "LocalActivationFailed", "RemoteActivationFailed", decodeActivationFailed},
	kindProbeTopologyDeclared:   {"ProbeTopologyDeclared", "LocalProbeTopologyDeclared", "RemoteProbeTopologyDeclared", decodeProbeTopologyDeclared},
	kindProbeObservedFirst:      {"ProbeObservedFirst", "LocalProbeObservedFirst", "RemoteProbeObservedFirst", decodeProbeObservedFirst},
	kindProbeResult:             {"ProbeResult", "LocalProbeResult", "RemoteProbeResult", decodeProbeResult},
	kindProbeFailureFirst:       {"ProbeFailureFirst", "LocalProbeFailureFirst", "RemoteProbeFailureFirst", decodeProbeFailureFirst},
	kindSustainedFailureCrossed: {"Failed", "LocalSustainedFailureCrossed", "RemoteFailed", decodeSustainedFailureCrossed},
	kindRollbackCompleted:       {"RollbackComplete", "LocalRollbackCompleted", "RemoteRollbackComplete", decodeRollbackCompleted},
	kindRollbackFailed:          {"RollbackFailed", "LocalRollbackFailed", "RemoteRollbackFailed", decodeRollbackFailed},
	kindConvergedReached:        {"Converged", "LocalConvergedReached", "RemoteConverged", decodeConvergedReached},
}

// byName maps the names of the table to rows of it: those of the wire, and those with an origin.
var byWireName, byOriginName = func() (map[string]kind, map[string]originKind) {
	onWire, withOrigin := map[string]kind{}, map[string]originKind{}
	for i := range kinds {
		k := kind(i)
		onWire[kinds[i].wire] = k
		withOrigin[kinds[i].local] = originKind{k, host.Local}
		withOrigin[kinds[i].remote] = originKind{k, host.Remote}
	}
	return onWire, withOrigin
}()

type originKind struct {
	kind   kind
	origin host.Origin
}

// EventKind returns the name of e's kind on the wire, such as "DispatchAck".
func EventKind(e host.Event) string { return kinds[kindOf(e)].wire }

// kindOf finds e's row. A type without one is a programming error that no input can cause: the table test holds it
// against host.AllEvents.
func kindOf(e host.Event) kind {
	switch e.(type) {
	case host.Activate:
		return kindActivate
	case host.ActivationStarted:
		return kindActivationStarted
	case host.ActivationCompleted:
		return kindActivationCompleted
	case host.ActivationDeferred:
		return kindActivationDeferred
	case host.ActivationFailed:
		return kindActivationFailed
	case host.ProbeTopologyDeclared:
		return kindProbeTopologyDeclared
	case host.ProbeObservedFirst:
		return kindProbeObservedFirst
	case host.ProbeResult:
		return kindProbeResult
	case host.ProbeFailureFirst:
		return kindProbeFailureFirst
	case host.SustainedFailureCrossed:
		return kindSustainedFailureCrossed
	case host.RollbackCompleted:
		return kindRollbackCompleted
	case host.RollbackFailed:
		return kindRollbackFailed
	case host.ConvergedReached:
		return kindConvergedReached
	}
	panic(fmt.Sprintf("wire: event type %T has no kind", e))
}

// DecodeEvent reads a wire event with its seq.
func DecodeEvent(data []byte) (seq uint64, e host.Event, err error) {
	o, err := parse(data)
	if err != nil {
		return 0, nil, err
	}
	return decodeEvent(o)
}

func decodeEvent(o *strictjson.Object) (uint64, host.Event, error) {
	name := o.String("kind")
	k, ok := byWireName[name]
	if !ok {
		o.Fail("kind", "unknown event kind %q", Text(name, MaxProbeName))
		return 0, nil, o.Err()
	}
	e, seq := kinds[k].decode(o), o.Uint64("seq")
	if err := o.Err(); err != nil {
		return 0, nil, err
	}
	return seq, e, nil
}

// DecodeNamedEvent reads an event under the name that says its origin, such as "LocalActivate" or "RemoteDispatchAck".
func DecodeNamedEvent(o *strictjson.Object) (host.Stamped, error) {
	name := o.String("kind")
	row, ok := byOriginName[name]
	if !ok {
		o.Fail("kind", "unknown event kind %q", Text(name, MaxProbeName))
		return host.Stamped{}, o.Err()
	}
	e, seq := kinds[row.kind].decode(o), o.Uint64("seq")
	if err := o.Err(); err != nil {
		return host.Stamped{}, err
	}
	return host.Stamped{Origin: row.origin, Seq: seq, Event: e}, nil
}
