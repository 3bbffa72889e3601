package tracing

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

const (
	uploadTimeout = 10 * time.Second
	tracesPath    = "/v1/traces" // of OTLP over HTTP, where the URL has none
)

// newClient makes what speaks to the receiver. It connects when there is something to say. Its own tries are off: the
// exporter's are, which tell of them.
func newClient(settings *nodev1.Tracing) (otlptrace.Client, error) {
	if !settings.GetHttp() {
		options := []otlptracegrpc.Option{
			otlptracegrpc.WithEndpoint(settings.GetEndpoint()), otlptracegrpc.WithHeaders(settings.GetHeaders()),
			otlptracegrpc.WithTimeout(uploadTimeout), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}),
		}
		if !settings.GetTls() {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		return otlptracegrpc.NewClient(options...), nil
	}
	to, err := url.Parse(settings.GetEndpoint())
	if err != nil || to.Host == "" {
		return nil, fmt.Errorf("traces: endpoint: expected http://HOST:PORT or https://HOST:PORT, got %q", settings.GetEndpoint())
	}
	if strings.Trim(to.Path, "/") == "" {
		to.Path = tracesPath
	}
	return otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(to.String()), otlptracehttp.WithHeaders(settings.GetHeaders()),
		otlptracehttp.WithTimeout(uploadTimeout), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
	), nil
}
