package rollout

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nixfleet/host"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts print into testdata")

// A script is blocks of commands, a line "----" and what they print, ended by an empty line.
func TestScriptsPrintWhatTheyDid(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{world: newWorld(t)}
	got := s.run(string(want))
	if err := s.p.Err(); err != nil {
		t.Errorf("the machine refused the planner: %v", err)
	}
	if got == string(want) {
		return
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s prints something else (go test ./rollout -rewrite, then look at the difference):\n%s", path, got)
}

type script struct {
	*world
	out strings.Builder
	rec Record // of the machine commands
}

func (s *script) run(text string) string {
	var file strings.Builder
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if line == "----" {
			for lines.Scan() && lines.Text() != "" {
			}
			file.WriteString("----\n" + s.out.String() + "\n")
			s.out.Reset()
			continue
		}
		file.WriteString(line + "\n")
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(line, "#") {
			s.command(f[0], f[1:])
		}
	}
	if err := lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return file.String()
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) command(name string, args []string) {
	if d, ok := strings.CutPrefix(name, "+"); ok {
		wait, err := time.ParseDuration(d)
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(wait)
		return
	}
	commands := map[string]func(*script, []string){
		"planner": (*script).planner, "restored": (*script).restored, "channel": (*script).channelCmd, "host": (*script).hostCmd, "drop": (*script).dropCmd,
		"budget": (*script).budgetCmd, "nobudget": (*script).noBudgetCmd, "edge": (*script).edgeCmd, "channeledge": (*script).channelEdgeCmd, "fleet": (*script).fleetCmd,
		"manifest": (*script).manifestCmd, "heard": (*script).heardCmd, "seen": (*script).seenCmd, "held": (*script).heldCmd, "failing": (*script).failingCmd,
		"holds": (*script).holdsCmd, "refuses": (*script).refusesCmd, "plan": (*script).planCmd, "written": (*script).writtenCmd, "record": (*script).recordCmd,
		"quarantine": (*script).quarantineCmd, "clear": (*script).clearCmd, "deliver": (*script).deliverCmd, "why": (*script).whyCmd, "waves": (*script).wavesCmd,
		"budgets": (*script).budgetsCmd, "rollouts": (*script).rolloutsCmd, "begin": (*script).beginCmd, "commit": (*script).commitCmd, "rollback": (*script).rollbackCmd,
		"step": (*script).stepCmd, "cleared": (*script).clearedCmd, "loaded": (*script).loadedCmd,
	}
	run := commands[name]
	if run == nil {
		s.t.Fatalf("unknown command %q", name)
	}
	run(s, args)
}

// options splits key=value arguments from the others.
func options(args []string) ([]string, map[string]string) {
	var plain []string
	opts := map[string]string{}
	for _, a := range args {
		if k, v, ok := strings.Cut(a, "="); ok {
			opts[k] = v
			continue
		}
		plain = append(plain, a)
	}
	return plain, opts
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) planner(args []string) {
	s.p = NewPlanner(DefaultSettings(), s.now, slices.Contains(args, "empty"))
	s.status = map[string]HostStatus{}
}
func (s *script) restored([]string) { s.p.Restored(s.now) }

func (s *script) channelCmd(args []string) { s.addChannel(args[0], s.number(args[1])) }

func (s *script) hostCmd(args []string) {
	plain, opts := options(args)
	var tags []string
	if opts["tags"] != "" {
		tags = strings.Split(opts["tags"], ",")
	}
	for _, name := range plain {
		s.addHost(name, opts["channel"], tags...)
	}
}

func (s *script) dropCmd(args []string) {
	for _, name := range args {
		delete(s.hosts, name)
	}
}

func (s *script) budgetCmd(args []string) {
	plain, opts := options(args)
	sel := map[string]any{}
	switch kind, value, _ := strings.Cut(plain[0], ":"); kind {
	case "all":
		sel["all"] = true
	case "tag":
		sel["tags"] = []string{value}
	case "hosts":
		sel["hosts"] = strings.Split(value, ",")
	}
	if v := opts["max"]; v != "" {
		s.addBudget(sel, "maxInFlight", s.number(v))
		return
	}
	s.addBudget(sel, "maxInFlightPct", s.number(opts["pct"]))
}

func (s *script) noBudgetCmd([]string) { s.budgets = nil }

func (s *script) edgeCmd(args []string) {
	s.edges = append(s.edges, map[string]any{"gated": args[0], "gates": args[2]})
}

func (s *script) channelEdgeCmd(args []string) {
	s.chEdges = append(s.chEdges, map[string]any{"gated": args[0], "gates": args[2]})
}

func (s *script) fleetCmd([]string) { s.p.SetFleet(s.parseFleet()) }

func (s *script) manifestCmd(args []string) {
	plain, opts := options(args)
	target := "v1"
	if opts["target"] != "" {
		target = opts["target"]
	}
	waves := [][]string{{}}
	for _, a := range plain[1:] {
		if a == "|" {
			waves = append(waves, nil)
			continue
		}
		waves[len(waves)-1] = append(waves[len(waves)-1], a)
	}
	s.p.SetManifest(s.manifest(plain[0], target, waves), opts["newest"] != "no")
}

func (s *script) all(args []string) []string {
	if len(args) == 1 && args[0] == "all" {
		args = nil
		for name := range s.hosts {
			args = append(args, name)
		}
		slices.Sort(args)
	}
	return args
}

func (s *script) heardCmd(args []string) {
	for _, name := range s.all(args) {
		s.heard(name)
	}
}

func (s *script) seenCmd(args []string) { // seen before this start, not heard since
	for _, name := range s.all(args) {
		s.tell(name, func(h *HostStatus) { h.LastSeen, h.Heard = s.now, false })
	}
}

func (s *script) heldCmd(args []string) {
	s.tell(args[0], func(h *HostStatus) { h.Held = strings.Join(args[1:], " ") })
}

func (s *script) failingCmd(args []string) {
	s.tell(args[0], func(h *HostStatus) { h.Failing = args[1:] })
}

func (s *script) holdsCmd(args []string) {
	s.tell(args[0], func(h *HostStatus) { h.LastSeen, h.Holds = s.now, strings.Join(args[1:], "") })
}

func (s *script) refusesCmd(args []string) {
	s.tell(args[0], func(h *HostStatus) { h.RefusedRollout, h.RefusedReason = args[1], strings.Join(args[2:], " ") })
}

func (s *script) planCmd([]string) {
	actions := s.p.Plan(s.now)
	if len(actions) == 0 {
		s.say("nothing")
	}
	for _, a := range actions {
		s.say("%s", describe(a))
	}
}

func (s *script) writtenCmd(args []string) {
	channel, _, _ := strings.Cut(args[1], "@")
	s.p.SetDispatch(args[0], args[1], channel, Dispatch{DispatchWritten, s.now})
}

func (s *script) recordCmd(args []string) {
	plain, opts := options(args)
	if plain[2] == "none" {
		s.p.RemoveRecord(plain[0], plain[1])
		return
	}
	state, err := host.ParseState(plain[2])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range strings.Split(plain[0], ",") {
		s.record(name, plain[1], state, func(r *host.Record) {
			if opts["policy"] == "halt" {
				r.PolicyApplied = host.Halt
			}
			if opts["attempts"] != "" {
				r.RollbackAttempts = uint32(s.number(opts["attempts"]))
			}
			r.SupersededBy = opts["by"]
		})
	}
}

func (s *script) quarantineCmd(args []string) {
	s.p.SetQuarantine(args[0], args[1], len(args) < 3 || args[2] != "off")
}

func (s *script) clearedCmd(args []string) { // by an earlier run
	channel, _, _ := strings.Cut(args[1], "@")
	s.p.SetCleared(args[0], args[1], channel)
}

// loadedCmd tells a rollout of the store.
func (s *script) loadedCmd(args []string) {
	plain, opts := options(args)
	state, err := ParseState(plain[1])
	if err != nil {
		s.t.Fatal(err)
	}
	channel, _, _ := strings.Cut(plain[0], "@")
	s.p.SetRollout(Record{
		ID: plain[0], Channel: channel, State: state, Wave: uint32(s.number(opts["wave"])), Waves: uint32(s.number(opts["waves"])),
		OpenedAt: s.now, ChangedAt: s.now,
	})
}

func (s *script) clearCmd(args []string) {
	step, err := s.p.Clear(args[0], "olivia", "looked at it", s.now)
	if err != nil {
		s.say("%v", err)
		return
	}
	s.say("%s", describe(step))
}

func (s *script) deliverCmd(args []string) {
	why, ok := s.p.Deliverable(args[0], args[1], s.now)
	if ok {
		s.say("yes")
		return
	}
	s.say("no, %s: %s", why.Gate, why.Text)
}

func (s *script) whyCmd(args []string) {
	for _, name := range s.all(args) {
		why, ok := s.p.Reason(name)
		if !ok {
			s.say("%s: done", name)
			continue
		}
		s.say("%s: %s: %s", name, why.Gate, why.Text)
		line := fmt.Sprintf("    %s: %s", why.Owner, why.Unblocks)
		if !why.Earliest.IsZero() {
			line += ", not before " + clock(why.Earliest)
		}
		s.say("%s", line)
		for _, f := range why.Facts {
			s.say("    %s = %s", f.Name, f.Value)
		}
	}
}

func (s *script) wavesCmd(args []string) {
	for i, w := range s.p.Waves(args[0]) {
		s.say("wave %d: %+v", i, w)
	}
}

func (s *script) budgetsCmd([]string) {
	for _, b := range s.p.Budgets() {
		s.say("%s: %d of %d", b.Selector, b.InFlight, b.Limit)
	}
}

func (s *script) rolloutsCmd([]string) {
	for _, r := range s.p.Rollouts() {
		s.say("%s %s wave %d of %d", r.ID, r.State, r.Wave, r.Waves)
	}
}

func (s *script) beginCmd([]string)    { s.p.Begin() }
func (s *script) commitCmd([]string)   { s.p.Commit() }
func (s *script) rollbackCmd([]string) { s.p.Rollback() }

// stepCmd drives the machine alone.
func (s *script) stepCmd(args []string) {
	var e Event
	plain, opts := options(args)
	switch plain[0] {
	case "reset":
		s.rec = Record{}
		return
	case "RolloutOpened":
		e = RolloutOpened{ID: "stable@r1", Channel: "stable", Waves: uint32(s.number(opts["waves"])), At: s.now}
	case "HostJoined":
		e = HostJoined{Host: "a", At: s.now}
	case "WaveDone":
		e = WaveDone{Wave: uint32(s.number(opts["wave"])), At: s.now}
	case "WaveAdvanced":
		e = WaveAdvanced{To: uint32(s.number(opts["to"])), At: s.now}
	case "AllConverged":
		e = AllConverged{At: s.now}
	case "HostReverted":
		e = HostReverted{Host: "a", At: s.now}
	case "HostFailed":
		e = HostFailed{Host: "a", At: s.now}
	case "OperatorClearance":
		e = OperatorClearance{Hosts: []string{"a"}, WaiveWave: opts["waive"] != "", At: s.now}
	case "SuccessorOpened":
		e = SuccessorOpened{Successor: "stable@r2", At: s.now}
	case "RetentionExpired":
		e = RetentionExpired{At: s.now}
	}
	next, effects, err := Step(s.rec, e, s.now)
	var refused *Refusal
	if errors.As(err, &refused) {
		s.say("%s: %s", refused.Class, refused.Detail)
		return
	}
	line := fmt.Sprintf("%s -> %s", s.rec.State, next.State)
	s.rec = next
	for _, x := range effects {
		line += fmt.Sprintf(" %T", x)
	}
	s.say("%s", strings.ReplaceAll(line, "rollout.", ""))
}
