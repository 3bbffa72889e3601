package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/policymetrics"
)

// storeMetrics gathers what the store tells of itself.
func (e *Engine) storeMetrics() prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(e.store.Collector())
	return own
}

// policyMetrics gathers what policies, in Go and in Python, count by metrics of their own.
func (e *Engine) policyMetrics() prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(policymetrics.NewCollector(e.options.Log, e.groups.PolicyMetrics, e.registry.policyMetrics))
	return own
}

// proxyMetrics gathers what is counted of Envoy's own answers.
func (e *Engine) proxyMetrics() prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(e.proxyAnswers)
	return own
}
