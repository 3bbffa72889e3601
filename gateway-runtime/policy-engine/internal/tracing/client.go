package tracing

import (
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/otlp"
)

// newClient makes a client of the receiver. It connects when there is something to send. It does not retry,
// since the exporter does, and logs it.
func newClient(settings *nodev1.Tracing) (otlptrace.Client, error) {
	if !settings.GetHttp() {
		return otlptracegrpc.NewClient(
			otlptracegrpc.WithEndpoint(settings.GetEndpoint()), otlptracegrpc.WithHeaders(settings.GetHeaders()),
			otlptracegrpc.WithTimeout(otlp.Timeout), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}),
			otlptracegrpc.WithTLSCredentials(otlp.Credentials(settings.GetTls())), otlptracegrpc.WithDialOption(otlp.Reconnect()),
		), nil
	}
	to, err := otlp.URL(settings.GetEndpoint(), "traces")
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(to), otlptracehttp.WithHeaders(settings.GetHeaders()),
		otlptracehttp.WithTimeout(otlp.Timeout), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
	), nil
}
