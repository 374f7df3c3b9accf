package host_test

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"nixfleet/host"
)

// fields renders every field of a record, one text each, in order.
func fields(r *host.Record) []string {
	var out []string
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		text := ""
		switch f := v.Field(i).Interface().(type) {
		case time.Time:
			text = ago(f)
		case []host.Declaration:
			text = declaredText(f)
		case []*host.Probe:
			text = probesText(f)
		default:
			text = fmt.Sprint(f)
		}
		if text == "" {
			text = "absent"
		}
		out = append(out, v.Type().Field(i).Name+": "+text)
	}
	return out
}

func declaredText(list []host.Declaration) string {
	if list == nil {
		return "not declared"
	}
	texts := []string{"declared"}
	for _, d := range list {
		texts = append(texts, fmt.Sprintf("%s:%s", d.Name, d.Mode))
	}
	return strings.Join(texts, " ")
}

func probesText(list []*host.Probe) string {
	texts := []string{"of results"}
	for _, p := range list {
		text := fmt.Sprintf("%s:%s %s at %s", p.Name, p.Mode, p.Status, ago(p.LastObservedAt))
		if p.Status == host.Fail {
			text += fmt.Sprintf(" (%s; passed %s)", p.FailureReason, ago(p.LastPassAt))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// arguments are the key=value words of a line of a story.
type arguments struct {
	t      *testing.T
	line   string
	at     time.Time
	values map[string]string
}

func (a *arguments) read(words []string) {
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			a.t.Fatalf("%q: %q is not key=value", a.line, w)
		}
		a.values[key] = value
	}
}

// done fails the story if a word was not asked for: it would mean nothing.
func (a *arguments) done() {
	for key := range a.values {
		a.t.Fatalf("%q: %q means nothing there", a.line, key)
	}
}

func (a *arguments) text(key, def string) string {
	v, ok := a.values[key]
	if !ok {
		return def
	}
	delete(a.values, key)
	return v
}

func (a *arguments) closure(key, def string) string {
	switch v := a.text(key, def); v {
	case "old":
		return oldClosure
	case "new":
		return newClosure
	case "other":
		return otherClosure
	case "unknown":
		return ""
	default:
		return v
	}
}

func (a *arguments) number(key string, def uint64) uint64 {
	v := a.text(key, "")
	if v == "" {
		return def
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		a.t.Fatalf("%q: %v", a.line, err)
	}
	return n
}

func (a *arguments) time(key string, def time.Time) time.Time {
	if v := a.text(key, ""); v != "" {
		return parseAgo(a.t, v)
	}
	return def
}

// one gives the index of the text at key in names, 0 if it is absent.
func (a *arguments) one(key string, names []string) uint8 {
	v := a.text(key, names[0])
	for i, n := range names {
		if n == v {
			return uint8(i)
		}
	}
	a.t.Fatalf("%q: %q is not one of %v", a.line, v, names)
	return 0
}

func (a *arguments) mode(key string) host.Mode { return host.Mode(a.one(key, host.ModeNames[:])) }

func parseAgo(t *testing.T, s string) time.Time {
	d, err := time.ParseDuration(s)
	if err != nil || !strings.HasPrefix(s, "+") {
		t.Fatalf("%q is neither an order nor a time such as +14s: %v", s, err)
	}
	return t0.Add(d)
}

func (a *arguments) event(kind string) host.Event {
	exit := func() int32 { return int32(a.number("exit", 0)) }
	switch kind {
	case "Activate":
		return host.Activate{CurrentClosureAtDispatch: a.closure("prior", oldClosure), ReceivedAt: a.at, PolicyHash: a.text("policyHash", "")}
	case "ActivationStarted":
		return host.ActivationStarted{StartedAt: a.at, SwitchMethod: "unit"}
	case "ActivationCompleted":
		return host.ActivationCompleted{ObservedCurrentClosure: a.closure("observed", newClosure), ExitCode: exit(), CompletedAt: a.at}
	case "ActivationDeferred":
		return host.ActivationDeferred{Component: a.text("component", "systemd"), DeferredAt: a.at}
	case "ActivationFailed":
		return host.ActivationFailed{ExitCode: exit(), FailedAt: a.at}
	case "ProbeTopologyDeclared":
		return host.ProbeTopologyDeclared{Probes: a.topology(), DeclaredAt: a.at}
	case "ProbeObservedFirst":
		return host.ProbeObservedFirst{ProbeName: a.text("name", "http"), Mode: a.mode("mode"), ObservedAt: a.at}
	case "ProbeResult":
		return host.ProbeResult{
			ProbeName: a.text("name", "http"), Mode: a.mode("mode"), Status: host.Status(a.one("status", host.StatusNames[:])),
			ObservedAt: a.at, FailureReason: a.text("reason", ""),
		}
	case "ProbeFailureFirst":
		return host.ProbeFailureFirst{ProbeName: a.text("name", "http"), Mode: a.mode("mode"), FirstFailedAt: a.at}
	case "SustainedFailureCrossed":
		policy := host.OnFailure(a.one("policy", []string{"rollback-and-halt", "halt"}))
		return host.SustainedFailureCrossed{FailedAt: a.at, PolicyApplied: host.RollbackAndHalt - policy}
	case "RollbackCompleted":
		return host.RollbackCompleted{RevertedToClosure: a.closure("to", oldClosure), CompletedAt: a.at}
	case "RollbackFailed":
		return host.RollbackFailed{ExitCode: exit(), FailedAt: a.at, Attempt: uint32(a.number("attempt", 1))}
	case "ConvergedReached":
		return host.ConvergedReached{ConvergedAt: a.at, CurrentClosure: a.closure("on", newClosure)}
	}
	a.t.Fatalf("%q: no event is called %s", a.line, kind)
	return nil
}

func (a *arguments) topology() []host.DeclaredProbe {
	var out []host.DeclaredProbe
	for entry := range strings.SplitSeq(a.text("probes", "none"), ",") {
		if entry == "none" {
			continue
		}
		name, mode, _ := strings.Cut(entry, ":")
		inner := arguments{t: a.t, line: a.line, values: map[string]string{"mode": mode}}
		out = append(out, host.DeclaredProbe{ProbeName: name, Kind: "http", Mode: inner.mode("mode")})
	}
	return out
}
