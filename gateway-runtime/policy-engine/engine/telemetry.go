package engine

import (
	"net/http"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/metrics"
)

// applyTelemetry hands what a Gateway says of telemetry to the parts that it is for. It waits for nothing.
func (e *Engine) applyTelemetry(telemetry *nodev1.Telemetry) {
	e.applyMetrics(telemetry.GetMetrics())
	e.applyAdmin(telemetry.GetAdmin())
}

func (e *Engine) applyMetrics(wanted *nodev1.Metrics) {
	e.metrics.Apply(metrics.Settings{Disabled: wanted.GetDisabled(), MaxSeries: int(wanted.GetMaxSeries()),
		WithoutOperations: wanted.GetWithoutOperations()})
}

// applyAdmin has the node's admin listener listen where the Gateway says; nowhere where it says nothing.
func (e *Engine) applyAdmin(wanted *nodev1.Admin) {
	if wanted == nil || wanted.GetDisabled() {
		e.adminListener.Listen(nil)
		return
	}
	e.adminListener.Listen(&metrics.Address{IP: wanted.GetAddress(), Port: int(wanted.GetPort())})
}

// telemetry makes what tells of the engine, before there is anything to tell.
func (e *Engine) newTelemetry() {
	e.metrics = metrics.New(metrics.Options{
		Counters: e.counters, Sources: e.options.MetricsSources, Log: e.options.Log,
		Node: metrics.Node{
			Version: Version, Bodies: e.bodies.Stats, Executors: e.groups.Stats, Quarantined: e.groups.Quarantined,
			Generation: e.groups.Generation, Node: e.node.Stats, XDS: e.xds.Stats,
		},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.metrics.Handler())
	admin.HandleHealth(mux, e.ready.Load)
	e.adminListener = metrics.NewListener(mux, e.options.Log)
}
