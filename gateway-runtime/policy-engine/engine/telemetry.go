package engine

import (
	"log/slog"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/tracing"
)

// setTelemetry hands what a Gateway says of telemetry to the parts that it is for. It is called for each Gateway that is
// served, also again for the same one, and must not wait. nil: the Gateway says nothing.
func (e *Engine) setTelemetry(telemetry *nodev1.Telemetry) {
	e.redaction.Store(redaction.New(telemetry.GetRedaction()))
	e.traces.Apply(telemetry.GetTracing())
}

// Redaction is the list of what is secret as it stands now; it is asked anew for each thing that is shown.
func (e *Engine) Redaction() *redaction.List { return e.redaction.Load() }

// newTracing makes what traces exchanges, and returns the log whose lines say of which trace they are.
func (e *Engine) newTracing(options Options) *slog.Logger {
	e.traces = tracing.New(tracing.Options{
		NodeID: options.NodeID, Version: Version, Redaction: e.Redaction,
		Watch: func(watch exchange.Watch) { e.watches.Set("traces", watch) }, Log: options.Log,
	})
	return slog.New(e.traces.Handler(options.Log.Handler()))
}
