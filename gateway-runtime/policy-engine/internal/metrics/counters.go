package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/chain"
)

// metric is a counter of the request path as it is exported.
type metric struct {
	chain.Counter
	desc *prometheus.Desc
}

var engineCounters = metricsOf(&chain.EngineCounters, false)

// metricsOf returns the counters of a table, those of shadow attachments or the others.
func metricsOf(table *chain.CounterTable, shadow bool) (metrics []metric) {
	for _, counter := range table.All {
		if counter.Shadow == shadow {
			metrics = append(metrics, metric{counter, desc(counter.Name, counter.Help, counter.Labels()...)})
		}
	}
	return metrics
}
