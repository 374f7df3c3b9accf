package controlplane

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"nixfleet/controlplane/core"
	"nixfleet/controlplane/ledger"
	"nixfleet/host"
)

// metrics are what the control plane counts. No label is a host or a rollout: their number would be that of the fleet.
type metrics struct {
	registry       *prometheus.Registry
	rows           prometheus.Counter
	flagged        *prometheus.CounterVec // by flag
	transitions    *prometheus.CounterVec // by state
	commits        prometheus.Histogram
	batch          prometheus.Histogram
	commitFailures prometheus.Counter
	full           prometheus.Counter
	badDocuments   prometheus.Counter
}

func newMetrics(parked func() float64, waiting func() float64) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "nixfleet_cp", Name: name, Help: help})
	}
	m := &metrics{
		registry:       prometheus.NewRegistry(),
		rows:           counter("log_rows_total", "Rows written to the event log."),
		commitFailures: counter("commit_failures_total", "Transactions that did not commit; nothing of them happened."),
		full:           counter("inputs_full_total", "Requests answered 503 because the reducer was behind."),
		badDocuments:   counter("documents_refused_total", "Signed documents refused or unreadable; the last good one stays."),
		flagged: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "nixfleet_cp", Name: "log_rows_flagged_total", Help: "Rows that are late, diverged, synthesized, resync or parked.",
		}, []string{"flag"}),
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "nixfleet_cp", Name: "transitions_total", Help: "Hosts that reached a state.",
		}, []string{"state"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "nixfleet_cp", Name: "commit_seconds", Help: "Time one transaction took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "nixfleet_cp", Name: "batch_inputs", Help: "Inputs in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
	m.registry.MustRegister(m.rows, m.flagged, m.transitions, m.commits, m.batch, m.commitFailures, m.full, m.badDocuments,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "nixfleet_cp", Name: "polls_parked", Help: "Hosts waiting for a dispatch."}, parked),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "nixfleet_cp", Name: "inputs_waiting", Help: "Inputs waiting for the reducer."}, waiting))
	for _, s := range host.States {
		m.transitions.WithLabelValues(s.String())
	}
	return m
}

func (m *metrics) observe(c *core.Commit, inputs int, took time.Duration) {
	m.batch.Observe(float64(inputs))
	if !c.Ledger.Empty() {
		m.commits.Observe(took.Seconds())
	}
	m.rows.Add(float64(len(c.Ledger.Rows)))
	for i := range c.Ledger.Rows {
		if f := c.Ledger.Rows[i].Flags; f != 0 {
			m.flag(f)
		}
	}
	for _, t := range c.Transitions {
		m.transitions.WithLabelValues(t.To.String()).Inc()
	}
}

func (m *metrics) flag(f ledger.Flags) {
	for _, name := range f.Names() {
		m.flagged.WithLabelValues(name).Inc()
	}
}
