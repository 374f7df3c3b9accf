package agent

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// metrics are counters and gauges in the Prometheus text format. A registry of our own: client_golang brings
// protobuf and reflection, 4 MiB of a binary that may have 12, for what these lines do. Names are fixed by the code,
// so their number is bounded; there are no labels.
type metrics struct {
	mu     sync.Mutex
	values map[string]metric
}

type metric struct {
	value float64
	gauge bool
}

const metricPrefix = "nixfleet_agent_"

func newMetrics() *metrics { return &metrics{values: map[string]metric{}} }

// add raises a counter.
func (m *metrics) add(name string, by float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.values[name]
	v.value += by
	m.values[name] = v
}

// set sets a gauge.
func (m *metrics) set(name string, to float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[name] = metric{value: to, gauge: true}
}

func (m *metrics) writeTo(w io.Writer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.values))
	for name := range m.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v := m.values[name]
		full, kind := metricPrefix+name+"_total", "counter"
		if v.gauge {
			full, kind = metricPrefix+name, "gauge"
		}
		if _, err := fmt.Fprintf(w, "# TYPE %s %s\n%s %g\n", full, kind, full, v.value); err != nil {
			return err
		}
	}
	return nil
}
