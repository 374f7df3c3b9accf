package release

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"nixfleet/fleet"
)

// Plan returns what Write would do, as text for a terminal: the waves of each channel that gets a ref, and what should
// be known before signing. Nothing is signed and nothing written; no key is needed.
func Plan(r Request) (string, error) {
	if r.At.IsZero() {
		return "", fmt.Errorf("%w: no time", ErrRequest)
	}
	p, err := prepare(r)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, m := range p.manifests {
		if err := p.planRollout(&out, m); err != nil {
			return "", err
		}
	}
	for _, id := range p.kept {
		fmt.Fprintf(&out, "channel %s stays at %s and is signed anew\n", id.Channel(), id.Ref())
	}
	for _, channel := range fleet.ReleasableChannels(p.fleet) {
		if _, released := p.fleet.ChannelRefs[channel]; !released {
			fmt.Fprintf(&out, "channel %s has no ref yet and none in this release: its hosts stay as they are\n", channel)
		}
	}
	return out.String(), nil
}

func (p *prepared) planRollout(out *strings.Builder, m *fleet.Manifest) error {
	policy, _ := p.fleet.Policy(m.Channel)
	window := p.fleet.Channels[m.Channel].Window()
	waves := p.fleet.Waves[m.Channel]
	fmt.Fprintf(out, "%s: %s in %s, on failure %s, signatures good for %s\n\n", m.ID(),
		count(len(m.HostSet), "host"), count(len(waves), "wave"), policy.OnHealthFailure, window)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(table, "  wave\thosts\tsoak\tbegins after\t"); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	var begins time.Duration
	members := membersOf(m, len(waves))
	for i, w := range waves {
		soak := time.Duration(w.Soak()) * time.Second
		if _, err := fmt.Fprintf(table, "  %d\t%d\t%s\t%s\t%s\n", i, len(members[i]), soak, begins, few(members[i])); err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if i < len(waves)-1 {
			begins += soak
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	fmt.Fprintln(out)
	if begins > window {
		fmt.Fprintf(out, "  the last wave begins %s after the first at the earliest, and the signatures are good for %s:\n"+
			"  sign anew (--resign) before they grow stale, or the rollout stops there\n\n", begins, window)
	}
	return nil
}

func membersOf(m *fleet.Manifest, waves int) [][]string {
	members := make([][]string, waves)
	for _, e := range m.HostSet {
		members[e.WaveIndex] = append(members[e.WaveIndex], e.Hostname)
	}
	return members
}

// few names the first hosts of a wave: a table is to be read, not searched.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
