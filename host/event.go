package host

import "time"

// Event is a fact that happened to one host in one rollout: one value struct per kind, written once for both origins.
//
//sumtype:decl
type Event interface{ isEvent() }

// Origin says which side calls Step: where an event happened, or where it is mirrored.
type Origin uint8

// The origins.
const (
	Local  Origin = iota // on the agent
	Remote               // in the control plane's mirror
)

// Stamped is an event with its place in the order of its host and rollout.
type Stamped struct {
	Origin Origin
	Seq    uint64
	Event  Event
}

// Activate: the host accepts its dispatch. On the wire a DispatchAck. The fields behind ReceivedAt but PolicyHash
// are carried so that a mirror without the record can make it; Step neither checks nor stores them.
type Activate struct {
	CurrentClosureAtDispatch string // "" unknown
	ReceivedAt               time.Time
	PolicyHash               string
	Wave                     uint32
	HasWave                  bool
	DispatchedAt             time.Time
	TargetClosure            string
	SoakDueAt                time.Time
}

// ActivationStarted: the switch was fired.
type ActivationStarted struct {
	StartedAt    time.Time
	SwitchMethod string
}

// ActivationCompleted: the switch ended and the host was seen running a closure.
type ActivationCompleted struct {
	ObservedCurrentClosure string
	ExitCode               int32
	CompletedAt            time.Time
}

// ActivationDeferred: profile and bootloader are set, the live switch was refused because of component.
type ActivationDeferred struct {
	Component  string
	DeferredAt time.Time
}

// ActivationFailed: the switch, or the wait for it, failed.
type ActivationFailed struct {
	ExitCode   int32
	StderrTail string
	FailedAt   time.Time
}

// DeclaredProbe is one probe of a topology.
type DeclaredProbe struct {
	ProbeName string
	Kind      string
	Mode      Mode
}

// ProbeTopologyDeclared: the probes that will report from now on, all of them.
type ProbeTopologyDeclared struct {
	Probes     []DeclaredProbe
	DeclaredAt time.Time
}

// ProbeObservedFirst: a probe ran for the first time in this rollout.
type ProbeObservedFirst struct {
	ProbeName  string
	Mode       Mode
	ObservedAt time.Time
}

// SubResult is one control of an evidence probe. Carried, never interpreted.
type SubResult struct {
	ControlID      string
	Status         Status
	Framework      string
	Article        string
	EffectiveMode  Mode
	OverrideReason string
}

// ProbeResult: one run of a probe ended.
type ProbeResult struct {
	ProbeName     string
	Mode          Mode
	Status        Status
	ObservedAt    time.Time
	FailureReason string
	SubResults    []SubResult
}

// ProbeFailureFirst: a probe went from passing, or from never having run, to failing.
type ProbeFailureFirst struct {
	ProbeName     string
	Mode          Mode
	FirstFailedAt time.Time
}

// SustainedFailureCrossed: enforce probes failed for the sustained window. On the wire Failed.
type SustainedFailureCrossed struct {
	FailedAt              time.Time
	SustainedDurationSecs uint64
	FailingProbes         []string
	PolicyApplied         OnFailure
}

// RollbackCompleted: the host runs what it was taken back to. On the wire RollbackComplete.
type RollbackCompleted struct {
	RevertedToClosure string
	ExitCode          int32
	CompletedAt       time.Time
}

// RollbackFailed: one attempt to take the host back failed.
type RollbackFailed struct {
	ExitCode   int32
	StderrTail string
	FailedAt   time.Time
	Attempt    uint32
}

// ConvergedReached: soak over, probes pass, the host runs the target. On the wire Converged.
type ConvergedReached struct {
	ConvergedAt    time.Time
	CurrentClosure string
}

func (Activate) isEvent()                {}
func (ActivationStarted) isEvent()       {}
func (ActivationCompleted) isEvent()     {}
func (ActivationDeferred) isEvent()      {}
func (ActivationFailed) isEvent()        {}
func (ProbeTopologyDeclared) isEvent()   {}
func (ProbeObservedFirst) isEvent()      {}
func (ProbeResult) isEvent()             {}
func (ProbeFailureFirst) isEvent()       {}
func (SustainedFailureCrossed) isEvent() {}
func (RollbackCompleted) isEvent()       {}
func (RollbackFailed) isEvent()          {}
func (ConvergedReached) isEvent()        {}

// AllEvents holds one value of every event type, in the order of the design's table. A test compares it with the
// types that carry the marker; it drives codec round trips, fuzz seeds and the every-event-in-every-state test.
var AllEvents = []Event{
	Activate{},
	ActivationStarted{},
	ActivationCompleted{},
	ActivationDeferred{},
	ActivationFailed{},
	ProbeTopologyDeclared{},
	ProbeObservedFirst{},
	ProbeResult{},
	ProbeFailureFirst{},
	SustainedFailureCrossed{},
	RollbackCompleted{},
	RollbackFailed{},
	ConvergedReached{},
}
