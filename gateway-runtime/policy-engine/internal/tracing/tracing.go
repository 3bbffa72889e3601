// Package tracing makes OpenTelemetry spans of exchanges, and exports them by OTLP.
//
// It decides which exchanges are traced and by which ids, what is redacted, and who receives the spans. The spans of
// executions are made while the exchange runs. Those of the exchange and of its upstream request are made after its end, from
// Envoy's log entry: the engine puts the ids of a traced exchange into its metadata, and listeners send the
// access log of exchanges with such metadata to the engine. An exchange that is not traced is passed on unchanged.
package tracing

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/redaction"
)

// Tracing traces exchanges as the node's Gateway configures. Its methods may be called at any time, from any goroutine.
type Tracing struct {
	options  Options
	log      *slog.Logger
	active   sync.Map // request id → *tracedExchange
	counters counters

	mutex sync.Mutex // of Apply and Close
	state atomic.Pointer[state]
}

// Options configure Tracing. All are required.
type Options struct {
	NodeID, Version string
	Redaction       func() *redaction.List // the present list
	// Watch sets the function that is called for each exchange; nil: none.
	Watch func(exchange.Watch)
	Log   *slog.Logger
}

// state is valid until the next Apply.
type state struct {
	settings *nodev1.Tracing
	exporter *exporter
	token    *tokenFile
}

// New makes a Tracing that traces nothing before Apply.
func New(options Options) *Tracing { return &Tracing{options: options, log: options.Log} }

func (t *Tracing) redaction() *redaction.List { return t.options.Redaction() }

// Apply applies the settings. It does not block: spans for the previous receiver are sent in the background.
func (t *Tracing) Apply(settings *nodev1.Tracing) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	previous := t.state.Load()
	if previous != nil && proto.Equal(previous.settings, settings) || previous == nil && settings.GetEndpoint() == "" {
		return
	}
	next := t.next(previous, settings)
	t.state.Store(next)
	if previous != nil && (next == nil || next.exporter != previous.exporter) {
		go previous.exporter.close()
	}
	if next == nil {
		t.options.Watch(nil)
		t.log.Info("traces are off")
		return
	}
	t.options.Watch(t.watch)
	t.log.Info("traces are on", "collector", settings.GetEndpoint(), "sample", settings.GetSample())
}

// next returns the state for these settings; nil: tracing is off.
func (t *Tracing) next(previous *state, settings *nodev1.Tracing) *state {
	if settings.GetEndpoint() == "" {
		return nil
	}
	next := &state{settings: settings, token: &tokenFile{path: settings.GetForceTokenFile(), log: t.log}}
	if previous != nil && proto.Equal(receiverOf(previous.settings), receiverOf(settings)) {
		next.exporter = previous.exporter
		return next
	}
	client, err := newClient(settings)
	if err == nil {
		err = client.Start(context.Background()) // it connects with the first spans
	}
	if err != nil {
		t.log.Error("traces are off", "reason", err.Error())
		return nil
	}
	next.exporter = newExporter(client, t.resource(settings), &t.counters, t.log)
	return next
}

// receiverOf returns the part of the settings that an exporter depends on.
func receiverOf(settings *nodev1.Tracing) *nodev1.Tracing {
	return &nodev1.Tracing{Endpoint: settings.GetEndpoint(), Http: settings.GetHttp(), Tls: settings.GetTls(), Headers: settings.GetHeaders(),
		ServiceName: settings.GetServiceName(), ResourceAttributes: settings.GetResourceAttributes()}
}

func (t *Tracing) resource(settings *nodev1.Tracing) *resourcev1.Resource {
	values := map[string]string{"service.version": t.options.Version, "service.instance.id": t.options.NodeID}
	maps.Copy(values, settings.GetResourceAttributes())
	values["service.name"] = settings.GetServiceName()
	var set attributes
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set.text(name, values[name])
	}
	return &resourcev1.Resource{Attributes: set}
}

// Close exports the waiting spans, for a short time.
func (t *Tracing) Close() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if last := t.state.Swap(nil); last != nil {
		t.options.Watch(nil)
		last.exporter.close()
	}
}

// Stats count spans since the start.
type Stats struct {
	On       bool   `json:"on"`
	Exported uint64 `json:"exported"`
	Dropped  uint64 `json:"dropped"` // the receiver was too slow, or down
	Queued   int    `json:"queued"`
}

// Stats returns the counters.
func (t *Tracing) Stats() Stats {
	stats := Stats{Exported: t.counters.exported.Load(), Dropped: t.counters.dropped.Load()}
	if s := t.state.Load(); s != nil {
		stats.On, stats.Queued = true, s.exporter.queued()
	}
	return stats
}

// watch decides whether an exchange is traced.
func (t *Tracing) watch(_ context.Context, opening exchange.Opening, head chain.Head, _ *chain.Chain) exchange.Watcher {
	s := t.state.Load()
	if s == nil || opening.Refusal != 0 || !s.isTraced(&opening, &head) {
		return nil
	}
	api, operation, _ := exchange.RouteParts(opening.Route)
	traced := &tracedExchange{
		tracing: t, trace: newTrace(parentOf(head.Headers)), head: head, began: time.Now(), api: api, operation: operation,
		running: map[chain.Turn]runningExecution{},
	}
	t.active.Store(opening.RequestID, traced)
	return traced
}

// isTraced reports whether the exchange is to be traced.
func (s *state) isTraced(opening *exchange.Opening, head *chain.Head) bool {
	if opening.TraceToken != "" && s.token.matches(opening.TraceToken) {
		return true
	}
	if s.settings.GetTrustClients() {
		if parent, _ := parentOf(head.Headers); parent.IsValid() {
			return parent.IsSampled()
		}
	}
	return sampled(s.settings.GetSample())
}

// newTrace begins a trace, or continues the parent's if it is valid.
func newTrace(parent trace.SpanContext, traceState string) *exchange.Trace {
	result := &exchange.Trace{Exchange: newSpanID(), Upstream: newSpanID()}
	if !parent.IsValid() {
		result.ID = newTraceID()
		return result
	}
	result.ID, result.Parent, result.State = parent.TraceID(), parent.SpanID(), traceState
	return result
}

// export sends a span, or drops it if tracing has been turned off.
func (t *Tracing) export(exported *tracev1.Span) {
	if s := t.state.Load(); s != nil {
		s.exporter.add(exported)
	}
}

// ExportPolicies sends the spans of policies: a serialized ResourceSpans. Values with secret names are
// redacted.
func (t *Tracing) ExportPolicies(serialized []byte) {
	s := t.state.Load()
	if s == nil {
		return
	}
	spans := &tracev1.ResourceSpans{}
	if err := proto.Unmarshal(serialized, spans); err != nil {
		t.log.Warn("spans of a policy are dropped: they cannot be read", "reason", err.Error())
		return
	}
	list := t.redaction()
	redactSpans(list, spans)
	spans.Resource = withResource(spans.GetResource(), s.exporter.resource)
	s.exporter.addPolicySpans(spans)
}

// withResource returns the gateway's resource with the further attributes of a process.
func withResource(own, gateway *resourcev1.Resource) *resourcev1.Resource {
	names := map[string]bool{}
	for _, attribute := range gateway.GetAttributes() {
		names[attribute.GetKey()] = true
	}
	list := slices.Clone(gateway.GetAttributes())
	for _, attribute := range own.GetAttributes() {
		if !names[attribute.GetKey()] {
			list = append(list, attribute)
		}
	}
	return &resourcev1.Resource{Attributes: list}
}

func redactSpans(list *redaction.List, spans *tracev1.ResourceSpans) {
	redact(list, spans.GetResource().GetAttributes())
	for _, scope := range spans.GetScopeSpans() {
		redact(list, scope.GetScope().GetAttributes())
		for _, s := range scope.GetSpans() {
			redactSpan(list, s)
		}
	}
}

func redactSpan(list *redaction.List, s *tracev1.Span) {
	s.Name, _ = list.Text(s.GetName())
	redact(list, s.GetAttributes())
	if status := s.GetStatus(); status != nil {
		status.Message, _ = list.Text(status.GetMessage())
	}
	for _, event := range s.GetEvents() {
		event.Name, _ = list.Text(event.GetName())
		redact(list, event.GetAttributes())
	}
	for _, link := range s.GetLinks() {
		redact(list, link.GetAttributes())
	}
}

// redact redacts values by the names of their attributes, whose last part may be the name of a header
// (http.request.header.authorization), and secrets within text.
func redact(list *redaction.List, pairs []*commonv1.KeyValue) {
	for _, pair := range pairs {
		redactValue(list, pair.GetKey(), pair.GetValue())
	}
}
