package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// order refuses what waits for itself. It looks at host edges alone, then at channel edges alone, so that a plain
// mistake gets a plain sentence, and then at all of it together with the waves: a host waits for every host of the
// wave before its own, so an edge may ask for what the waves forbid.
func (l *linter) order() {
	before := len(l.errs)
	hosts := newWaits()
	for _, e := range l.f.Edges {
		hosts.add(e.Gated, e.Gates)
	}
	if cycle := hosts.cycle(); cycle != nil {
		l.refuse("edges wait for each other: %s", chain(cycle))
	}
	channels := newWaits()
	for _, e := range l.f.ChannelEdges {
		channels.add(e.Gated, e.Gates)
	}
	if cycle := channels.cycle(); cycle != nil {
		l.refuse("channelEdges wait for each other: %s", chain(cycle))
	}
	if len(l.errs) > before {
		return
	}
	if cycle := l.everything().cycle(); cycle != nil {
		l.refuse("edges and waves wait for each other: %s", chain(cycle))
	}
}

// chain writes a cycle as a sentence. It is cut in the middle of nothing: a long one is said to be long.
func chain(cycle []string) string {
	const most = 20
	if len(cycle) > most {
		cycle = append(slices.Clone(cycle[:most]), fmt.Sprintf("%d more", len(cycle)-most), cycle[0])
	}
	return strings.Join(cycle, " waits for ")
}

// everything draws one graph of hosts, of waves being done, and of channels being done.
func (l *linter) everything() *waits {
	w := newWaits()
	for _, channel := range ReleasableChannels(l.f) {
		waves, err := ResolveWaves(l.f, channel)
		if err != nil {
			continue // said already
		}
		for i, wave := range waves {
			done := waveDone(channel, i)
			for _, name := range wave.Hosts {
				if l.f.Hosts[name].ClosureHash == "" {
					continue
				}
				w.add(done, name)
				if i > 0 {
					w.add(name, waveDone(channel, i-1))
				}
				if i == 0 {
					w.add(name, channelOpen(channel))
				}
			}
		}
		if len(waves) > 0 {
			w.add(channelDone(channel), waveDone(channel, len(waves)-1))
		}
	}
	for _, e := range l.f.ChannelEdges {
		w.add(channelOpen(e.Gated), channelDone(e.Gates))
	}
	for _, e := range l.f.Edges {
		w.add(e.Gated, e.Gates)
	}
	return w
}

// The names of what is no host hold a space, which no host name does.
func waveDone(channel string, i int) string { return fmt.Sprintf("wave %d of %s", i, channel) }
func channelOpen(channel string) string     { return "the opening of " + channel }
func channelDone(channel string) string     { return "the end of " + channel }

// waits is a directed graph: who waits for whom.
type waits struct {
	names []string // in the order they were first named, so that the same fleet gives the same sentence
	ids   map[string]int
	next  [][]int
}

func newWaits() *waits { return &waits{ids: map[string]int{}} }

func (w *waits) node(name string) int {
	id, ok := w.ids[name]
	if !ok {
		id = len(w.names)
		w.ids[name] = id
		w.names = append(w.names, name)
		w.next = append(w.next, nil)
	}
	return id
}

func (w *waits) add(waiting, on string) {
	from, to := w.node(waiting), w.node(on)
	w.next[from] = append(w.next[from], to)
}

// cycle returns the names along one cycle, its first name again at the end, or nil. Depth first, with a stack of its
// own: a chain may be as long as the fleet is large.
func (w *waits) cycle() []string {
	const (
		fresh = iota
		open
		done
	)
	mark := make([]uint8, len(w.names))
	at := make([]int, len(w.names)) // the next neighbour to look at
	var path []int
	for start := range w.names {
		if mark[start] != fresh {
			continue
		}
		mark[start], path = open, append(path[:0], start)
		for len(path) > 0 {
			node := path[len(path)-1]
			if at[node] == len(w.next[node]) {
				mark[node] = done
				path = path[:len(path)-1]
				continue
			}
			to := w.next[node][at[node]]
			at[node]++
			switch mark[to] {
			case open:
				return w.named(append(path[slices.Index(path, to):], to))
			case fresh:
				mark[to], path = open, append(path, to)
			}
		}
	}
	return nil
}

func (w *waits) named(ids []int) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = w.names[id]
	}
	return names
}
