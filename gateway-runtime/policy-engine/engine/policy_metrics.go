package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/policymetrics"
)

// storeMetrics gathers the store's metrics.
func (e *Engine) storeMetrics() prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(e.store.Collector())
	return own
}

// policyMetrics gathers the metrics that policies, in Go and in Python, define.
func (e *Engine) policyMetrics() prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(policymetrics.NewCollector(e.options.Log, e.groups.PolicyMetrics, e.registry.policyMetrics))
	return own
}

// proxyMetrics gathers the counts of Envoy's own answers.
func (e *Engine) proxyMetrics() prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(e.proxyAnswers)
	return own
}
