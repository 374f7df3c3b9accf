package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nixfleet/fleet"
	"nixfleet/host"
	"nixfleet/keydir"
	"nixfleet/operator"
	"nixfleet/release"
	"nixfleet/rollout"
)

// story is the demo's three releases, told and checked.
type story struct {
	world  *world
	client *operator.Client
	print  *printer
	// during, if set, is run beside the second release and must return when its context ends.
	during func(ctx context.Context) error
	limit  time.Duration // how long one release may take
}

// tell plays all three releases and checks each ending.
func (s *story) tell(ctx context.Context) error {
	v1, err := s.world.buildRelease("v1", false)
	if err != nil {
		return err
	}
	v2, err := s.world.buildRelease("v2", false)
	if err != nil {
		return err
	}
	v3, err := s.world.buildRelease("v3", true)
	if err != nil {
		return err
	}
	if err := s.first(ctx, v1); err != nil {
		return err
	}
	if err := s.second(ctx, v2); err != nil {
		return err
	}
	if err := s.third(ctx, v2, v3); err != nil {
		return err
	}
	return s.audit(ctx)
}

func (s *story) first(ctx context.Context, v1 version) error {
	s.print.chapter("v1: the first release goes to all %d hosts at once", len(s.world.hosts))
	if _, err := s.roll(ctx, v1, false, rollout.Terminal); err != nil {
		return err
	}
	if err := s.allRun(v1.closure); err != nil {
		return err
	}
	s.print.result("all %d hosts soaked, passed their probes and converged on %s", len(s.world.hosts), v1.closure)
	return nil
}

func (s *story) second(ctx context.Context, v2 version) error {
	s.print.chapter("v2: canaries first (%s), the others once these have soaked", strings.Join(s.names(true), ", "))
	w, err := s.rollBeside(ctx, v2)
	if err != nil {
		return err
	}
	if err := s.allRun(v2.closure); err != nil {
		return err
	}
	if err := s.canariesWentFirst(w.seen); err != nil {
		return err
	}
	s.print.result("canaries converged before any other host was dispatched; all %d hosts run %s", len(s.world.hosts), v2.closure)
	return nil
}

func (s *story) third(ctx context.Context, v2, v3 version) error {
	s.print.chapter("v3: its service cannot read its own configuration")
	w, err := s.roll(ctx, v3, true, rollout.Reverted)
	if err != nil {
		return err
	}
	if err := s.canariesTookItBack(ctx, w); err != nil {
		return err
	}
	if err := s.allRun(v2.closure); err != nil {
		return err
	}
	if err := s.othersNeverHad(v3.closure, w.seen); err != nil {
		return err
	}
	if err := s.quarantined(ctx, v3.closure); err != nil {
		return err
	}
	s.print.result("the canaries failed on their own probes and went back to %s by themselves;", v2.closure)
	s.print.result("%s is quarantined, and the other %d hosts never had it", v3.closure, len(s.names(false)))
	return nil
}

// publish signs a release as an operator would.
func (s *story) publish(r version, canariesFirst bool) (string, error) {
	document, err := s.world.fleetDocument(r, canariesFirst)
	if err != nil {
		return "", err
	}
	key, err := keydir.LoadReleaseKey(s.world.keys())
	if err != nil {
		return "", err
	}
	id, err := fleet.NewRolloutID(channel, r.ref)
	if err != nil {
		return "", err
	}
	_, err = release.Write(release.Request{
		Fleet: document, Refs: map[string]string{channel: r.ref}, Dir: s.world.published(), At: time.Now(), Signer: key,
	})
	return id.String(), err
}

// roll publishes a release and follows it to its end.
func (s *story) roll(ctx context.Context, r version, canariesFirst bool, end rollout.State) (*watcher, error) {
	id, err := s.publish(r, canariesFirst)
	if err != nil {
		return nil, err
	}
	w := newWatcher(s.client, id, s.print.transition)
	if err := w.until(ctx, end.String(), s.limit); err != nil {
		return nil, errors.Join(err, s.explain(ctx))
	}
	return w, nil
}

// rollBeside is the second release, with whatever happens beside it.
func (s *story) rollBeside(ctx context.Context, r version) (*watcher, error) {
	if s.during == nil {
		return s.roll(ctx, r, true, rollout.Terminal)
	}
	beside, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.during(beside) }()
	w, err := s.roll(ctx, r, true, rollout.Terminal)
	stop()
	return w, errors.Join(err, <-ended)
}

// explain asks why the hosts that do not advance do not: what a person would do next.
func (s *story) explain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var reasons []error
	for _, m := range s.world.hosts {
		why, err := s.client.Why(ctx, m.name)
		if err != nil {
			return errors.Join(append(reasons, err)...)
		}
		if why.Reason != nil {
			reasons = append(reasons, fmt.Errorf("%s (%s) waits: %s: %s", m.name, why.Host.State, why.Reason.Gate, why.Reason.Text))
		}
	}
	return errors.Join(reasons...)
}

func (s *story) names(canaries bool) []string {
	var out []string
	for _, m := range s.world.hosts {
		if m.canary == canaries {
			out = append(out, m.name)
		}
	}
	return out
}

// allRun reads what every host runs from the host itself.
func (s *story) allRun(closure string) error {
	var wrong []error
	for _, m := range s.world.hosts {
		got, err := m.runs()
		if err != nil {
			return err
		}
		if got != closure {
			wrong = append(wrong, fmt.Errorf("demo: %s runs %q, want %q", m.name, got, closure))
		}
	}
	return errors.Join(wrong...)
}

// canariesWentFirst looks at the transitions in the order of the log: nobody else may have begun before the last
// canary had converged.
func (s *story) canariesWentFirst(seen []Transition) error {
	canaries := s.names(true)
	converged := 0
	for _, t := range seen {
		isCanary := slices.Contains(canaries, t.Host)
		if isCanary && t.To == host.Converged.String() {
			converged++
		}
		if !isCanary && converged < len(canaries) {
			return fmt.Errorf("demo: %s began when %d of %d canaries had converged", t.Host, converged, len(canaries))
		}
	}
	return nil
}

// canariesTookItBack waits for the last canary and holds every one to the way Soaking, Failed, Reverted.
func (s *story) canariesTookItBack(ctx context.Context, w *watcher) error {
	deadline := time.NewTimer(s.limit)
	defer deadline.Stop()
	for {
		missing := ""
		for _, name := range s.names(true) {
			if w.states[name] != host.Reverted {
				missing = name
			}
		}
		if missing == "" {
			break
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("%w: canary %s is %s, want Reverted", errTooLong, missing, w.states[missing])
		}
		if _, err := w.poll(ctx); err != nil && !errors.Is(err, operator.ErrUnreachable) {
			return err
		}
	}
	for _, t := range w.seen {
		if t.To == host.Failed.String() && t.From != host.Soaking.String() {
			return fmt.Errorf("demo: %s failed in %s, not on its probes", t.Host, t.From)
		}
	}
	return nil
}

// othersNeverHad looks for the closure where it would be: in the hosts' stores.
func (s *story) othersNeverHad(closure string, seen []Transition) error {
	for _, m := range s.world.hosts {
		if m.canary {
			continue
		}
		had, err := m.everHad(closure)
		if err != nil {
			return err
		}
		if had || slices.ContainsFunc(seen, func(t Transition) bool { return t.Host == m.name }) {
			return fmt.Errorf("demo: %s is no canary and met %s", m.name, closure)
		}
	}
	return nil
}

func (s *story) quarantined(ctx context.Context, closure string) error {
	list, err := s.client.Quarantines(ctx)
	if err != nil {
		return err
	}
	for _, q := range list {
		if q.Closure == closure && q.Channel == channel && q.ClearedAt.IsZero() {
			return nil
		}
	}
	return fmt.Errorf("demo: %s is not quarantined on %s", closure, channel)
}

// audit holds both sides' logs against each other once every host has sent what it owes.
func (s *story) audit(ctx context.Context) error {
	events := 0
	for _, m := range s.world.hosts {
		n, err := s.auditUntil(ctx, m)
		if err != nil {
			return err
		}
		events += n
	}
	s.print.result("audit: %d events; for each host the control plane's log is its journal, no seq missing, none twice", events)
	return nil
}

// auditUntil gives a host the time to send its last events: probes still report while the demo looks.
func (s *story) auditUntil(ctx context.Context, m *machine) (int, error) {
	const attempts = 50
	var last error
	for range attempts {
		n, err := auditHost(ctx, s.client, m)
		if err == nil {
			return n, nil
		}
		last = err
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
	return 0, last
}
