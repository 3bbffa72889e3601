package engine

import (
	"log/slog"
	"net/http"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/accesslog"
	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/metrics"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/tracing"
)

// setTelemetry passes a Gateway's telemetry settings to the parts that they concern. It is called for each Gateway that
// is applied, also again for the same one, and must not block. nil: the Gateway has no settings.
func (e *Engine) setTelemetry(telemetry *nodev1.Telemetry) {
	e.redaction.Store(redaction.New(telemetry.GetRedaction()))
	e.setMetrics(telemetry.GetMetrics())
	e.adminSettings.Store(telemetry.GetAdmin())
	e.setAdmin(telemetry.GetAdmin())
	e.secretNames.Store(telemetry.GetRedaction())
	e.logs.Set(telemetry.GetLogging())
	e.recorder.Configure(telemetry.GetRecording(), e.Redaction())
	e.traces.Apply(telemetry.GetTracing())
}

// Redaction is the current list of secret names; callers read it anew for each output.
func (e *Engine) Redaction() *redaction.List { return e.redaction.Load() }

func (e *Engine) setMetrics(settings *nodev1.Metrics) {
	e.proxyAnswers.SetMaxSeries(int(settings.GetMaxSeries()))
	e.metrics.Apply(metrics.Settings{Disabled: settings.GetDisabled(), MaxSeries: int(settings.GetMaxSeries()),
		WithoutOperations: settings.GetWithoutOperations()})
}

// setAdmin opens the node's admin listener at the Gateway's address; without one it closes it.
func (e *Engine) setAdmin(settings *nodev1.Admin) {
	if settings == nil || settings.GetDisabled() {
		e.adminListener.Listen(nil)
		return
	}
	e.adminListener.Listen(&metrics.Address{IP: settings.GetAddress(), Port: int(settings.GetPort())})
}

// makeMetrics makes the metrics, and the admin listener that serves them, which does not listen yet.
func (e *Engine) makeMetrics() {
	e.metrics = metrics.New(metrics.Options{
		Counters: e.counters, Sources: e.options.MetricsSources, Log: e.options.Log,
		Node: metrics.Node{
			Version: Version, Bodies: e.bodies.Stats, Executors: e.groups.Stats, Quarantined: e.groups.Quarantined,
			Generation: e.groups.Generation, Node: e.node.Stats, XDS: e.xds.Stats,
		},
	})
	e.metrics.Add(e.policyMetrics())
	e.metrics.Add(e.storeMetrics())
	e.metrics.Add(e.proxyMetrics())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.metrics.Handler())
	admin.HandleHealth(mux, e.obstacle)
	e.adminListener = metrics.NewListener(mux, e.options.Log)
}

// obstacle is the reason that clients are not served as the Gateway specifies; "": they are.
func (e *Engine) obstacle() string {
	if !e.ready.Load() {
		return admin.NotReady
	}
	if reason := e.node.Draining().Obstacle(); reason != "" {
		return reason
	}
	if !e.xds.Stats().EnvoyConnected {
		return "Envoy is not connected"
	}
	if reason := e.node.Starting(); e.options.Controller != "" && reason != "" {
		return reason
	}
	if !e.xds.EnvoyServes() {
		return "Envoy has not acknowledged its listeners yet"
	}
	return e.node.Stats().Gateway.Obstacle()
}

// redactAnalytics returns the analytics that policies have left as they go to the access log.
func (e *Engine) redactAnalytics(analytics map[string]any) map[string]any {
	redacted, _ := e.Redaction().Fields(analytics)
	return redacted
}

// newTracing makes the tracing of exchanges, and returns the log whose lines carry their trace's id.
func (e *Engine) newTracing(options Options) *slog.Logger {
	e.traces = tracing.New(tracing.Options{
		NodeID: options.NodeID, Version: Version, Redaction: e.Redaction,
		Watch: func(watch exchange.Watch) { e.watches.Set("traces", watch) }, Log: options.Log,
	})
	return slog.New(e.traces.Handler(options.Log.Handler()))
}

// accessLogs are the readers of the parts of Envoy's access log that the engine uses.
func (e *Engine) accessLogs() map[string]accesslog.Reader {
	answers := &accesslog.Answers{Counter: e.proxyAnswers, Recorder: e.recorder, Near: e.node.Near, Obstacle: e.node.Obstacle}
	return map[string]accesslog.Reader{envoynames.TracesLog: e.traces.Read, envoynames.AnswersLog: answers.Read}
}
