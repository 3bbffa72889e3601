package engine

import (
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/redaction"
)

// setTelemetry hands what a Gateway says of telemetry to the parts that it is for. It is called for each Gateway that is
// served, also again for the same one, and must not wait. nil: the Gateway says nothing.
func (e *Engine) setTelemetry(telemetry *nodev1.Telemetry) {
	e.redaction.Store(redaction.New(telemetry.GetRedaction()))
	e.recorder.Configure(telemetry.GetRecording(), e.Redaction())
}

// Redaction is the list of what is secret as it stands now; it is asked anew for each thing that is shown.
func (e *Engine) Redaction() *redaction.List { return e.redaction.Load() }
