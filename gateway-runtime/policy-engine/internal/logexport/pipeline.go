package logexport

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/otlp"
)

// pipeline sends lines to one collector. Each component is a service of its own; all share the queue.
type pipeline struct {
	nodeID    string
	counts    *counts
	backlog   *backlog
	processor *sdklog.BatchProcessor
	services  map[string]otellog.Logger // by component
}

func newPipeline(settings *nodev1.Logging, nodeID string, counts *counts, log *slog.Logger) (*pipeline, error) {
	exporter, err := newExporter(settings)
	if err != nil {
		return nil, fmt.Errorf("collector %s: %w", settings.GetEndpoint(), err)
	}
	waits := &backlog{}
	counting := &countingExporter{Exporter: exporter, counts: counts, backlog: waits, log: log}
	processor := sdklog.NewBatchProcessor(counting, sdklog.WithMaxQueueSize(mostWaiting+batchLines),
		sdklog.WithExportInterval(batchInterval), sdklog.WithExportTimeout(otlp.Timeout), sdklog.WithExportMaxBatchSize(batchLines))
	return &pipeline{nodeID: nodeID, counts: counts, backlog: waits, processor: processor, services: map[string]otellog.Logger{}}, nil
}

// newExporter makes an exporter that connects with its first lines.
func newExporter(settings *nodev1.Logging) (sdklog.Exporter, error) {
	ctx := context.Background()
	if !settings.GetHttp() {
		return otlploggrpc.New(ctx,
			otlploggrpc.WithEndpoint(settings.GetEndpoint()), otlploggrpc.WithHeaders(settings.GetHeaders()), otlploggrpc.WithCompressor("gzip"),
			otlploggrpc.WithTimeout(otlp.Timeout), otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}),
			otlploggrpc.WithTLSCredentials(otlp.Credentials(settings.GetTls())), otlploggrpc.WithDialOption(otlp.Reconnect()))
	}
	to, err := otlp.URL(settings.GetEndpoint(), "logs")
	if err != nil {
		return nil, err
	}
	return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(to), otlploghttp.WithHeaders(settings.GetHeaders()),
		otlploghttp.WithTimeout(otlp.Timeout), otlploghttp.WithRetry(otlploghttp.RetryConfig{}), otlploghttp.WithCompression(otlploghttp.GzipCompression))
}

func (p *pipeline) emit(lines []byte) {
	for line := range bytes.Lines(lines) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		if !p.backlog.add(len(line)) {
			p.counts.dropped.Add(1)
			continue
		}
		p.counts.waiting.Add(1)
		parsed := readLine(line)
		p.service(parsed.component).Emit(parsed.traced, parsed.record)
	}
}

func (p *pipeline) service(component string) otellog.Logger {
	if logger := p.services[component]; logger != nil {
		return logger
	}
	attributes := resource.NewSchemaless(attribute.String("service.name", component),
		attribute.String("service.namespace", "gatewright"), attribute.String("service.instance.id", p.nodeID))
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(p.processor), sdklog.WithResource(attributes), sdklog.WithAttributeCountLimit(-1))
	p.services[component] = provider.Logger("gatewright")
	return p.services[component]
}

// close sends the waiting lines, until ctx is done.
func (p *pipeline) close(ctx context.Context) {
	_ = p.processor.Shutdown(ctx) // which may give up lines
	lost := p.backlog.remove(mostWaiting)
	p.counts.waiting.Add(-int64(lost))
	p.counts.failed.Add(uint64(lost)) //nolint:gosec // a length
}

// countingExporter counts exported and lost lines, and logs when a collector fails and when it recovers.
type countingExporter struct {
	sdklog.Exporter
	counts  *counts
	backlog *backlog
	log     *slog.Logger
	away    atomic.Bool
}

func (c *countingExporter) Export(ctx context.Context, records []sdklog.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, otlp.Timeout)
	defer cancel()
	err := c.Exporter.Export(ctx, records)
	count := c.backlog.remove(len(records)) // fewer if close has counted some
	c.counts.waiting.Add(-int64(count))
	if err != nil {
		c.counts.failed.Add(uint64(count)) //nolint:gosec // a length
		if !c.away.Swap(true) {
			c.log.Warn("the collector does not accept log lines; they are dropped until it does", "error", err.Error())
		}
		return nil // counted; OpenTelemetry's own handler would write to stderr
	}
	c.counts.exported.Add(uint64(count)) //nolint:gosec // a length
	if c.away.Swap(false) {
		c.log.Info("the collector accepts log lines again", "failed", c.counts.failed.Load())
	}
	return nil
}
