// Package tracing makes OpenTelemetry spans of exchanges, and exports them by OTLP.
//
// All of it is decided here: which exchanges are traced, by whose ids, what of them is secret, who receives it. The spans of
// executions are made while the exchange runs. Those of the exchange and of its upstream are made when it has ended, of
// what Envoy logs of it: the engine tells Envoy the ids of a traced exchange in its metadata, and listeners send Envoy's
// access log of exchanges that have such metadata back here. An exchange that is not traced is passed on as it came.
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

// Tracing traces exchanges as the node's Gateway says. Its methods may be called at any time, from any goroutine.
type Tracing struct {
	options  Options
	log      *slog.Logger
	active   sync.Map // request id → *tracedExchange
	counters counters

	mutex sync.Mutex // of Apply and Close
	state atomic.Pointer[state]
}

// Options are what it needs. All are required.
type Options struct {
	NodeID, Version string
	Redaction       func() *redaction.List // as it stands now
	// Watch makes the function the one that is asked for each exchange; nil: none is.
	Watch func(exchange.Watch)
	Log   *slog.Logger
}

// state is what holds until the next Apply.
type state struct {
	settings *nodev1.Tracing
	exporter *exporter
	token    *tokenFile
}

// New makes one that traces nothing until Apply says so.
func New(options Options) *Tracing { return &Tracing{options: options, log: options.Log} }

func (t *Tracing) redaction() *redaction.List { return t.options.Redaction() }

// Apply makes it trace as these settings say. It waits for nothing: what was to be exported to another receiver is, beside.
func (t *Tracing) Apply(settings *nodev1.Tracing) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	before := t.state.Load()
	if before != nil && proto.Equal(before.settings, settings) || before == nil && settings.GetEndpoint() == "" {
		return
	}
	next := t.next(before, settings)
	t.state.Store(next)
	if before != nil && (next == nil || next.exporter != before.exporter) {
		go before.exporter.close()
	}
	if next == nil {
		t.options.Watch(nil)
		t.log.Info("traces are off")
		return
	}
	t.options.Watch(t.watch)
	t.log.Info("traces are on", "collector", settings.GetEndpoint(), "sample", settings.GetSample())
}

// next is the state of these settings; nil: nothing is traced.
func (t *Tracing) next(before *state, settings *nodev1.Tracing) *state {
	if settings.GetEndpoint() == "" {
		return nil
	}
	next := &state{settings: settings, token: &tokenFile{path: settings.GetForceTokenFile(), log: t.log}}
	if before != nil && proto.Equal(receiverOf(before.settings), receiverOf(settings)) {
		next.exporter = before.exporter
		return next
	}
	client, err := newClient(settings)
	if err == nil {
		err = client.Start(context.Background()) // it connects when there is something to say
	}
	if err != nil {
		t.log.Error("traces are off", "reason", err.Error())
		return nil
	}
	next.exporter = newExporter(client, t.resource(settings), &t.counters, t.log)
	return next
}

// receiverOf is the part of the settings that an exporter is made of.
func receiverOf(settings *nodev1.Tracing) *nodev1.Tracing {
	return &nodev1.Tracing{Endpoint: settings.GetEndpoint(), Http: settings.GetHttp(), Tls: settings.GetTls(), Headers: settings.GetHeaders(),
		ServiceName: settings.GetServiceName(), ResourceAttributes: settings.GetResourceAttributes()}
}

func (t *Tracing) resource(settings *nodev1.Tracing) *resourcev1.Resource {
	all := map[string]string{"service.version": t.options.Version, "service.instance.id": t.options.NodeID}
	maps.Copy(all, settings.GetResourceAttributes())
	all["service.name"] = settings.GetServiceName()
	var set attributes
	for _, name := range slices.Sorted(maps.Keys(all)) {
		set.text(name, all[name])
	}
	return &resourcev1.Resource{Attributes: set}
}

// Close exports what waits, for a short time.
func (t *Tracing) Close() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if last := t.state.Swap(nil); last != nil {
		t.options.Watch(nil)
		last.exporter.close()
	}
}

// Stats are counters of spans since the start.
type Stats struct {
	On       bool   `json:"on"`
	Exported uint64 `json:"exported"`
	Dropped  uint64 `json:"dropped"` // the receiver was too slow, or away
	Queued   int    `json:"queued"`
}

// Stats reads them.
func (t *Tracing) Stats() Stats {
	stats := Stats{Exported: t.counters.exported.Load(), Dropped: t.counters.dropped.Load()}
	if s := t.state.Load(); s != nil {
		stats.On, stats.Queued = true, s.exporter.queued()
	}
	return stats
}

// watch decides of an exchange whether it is traced.
func (t *Tracing) watch(_ context.Context, opening exchange.Opening, head chain.Head, _ *chain.Chain) exchange.Watcher {
	s := t.state.Load()
	if s == nil || opening.Refusal != 0 || !s.wants(&opening, &head) {
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

// wants reports whether the exchange is to be traced.
func (s *state) wants(opening *exchange.Opening, head *chain.Head) bool {
	if opening.TraceToken != "" && s.token.is(opening.TraceToken) {
		return true
	}
	if s.settings.GetTrustClients() {
		if parent, _ := parentOf(head.Headers); parent.IsValid() {
			return parent.IsSampled()
		}
	}
	return sampled(s.settings.GetSample())
}

// newTrace begins a trace, or goes on with that of the parent where it is valid.
func newTrace(parent trace.SpanContext, traceState string) *exchange.Trace {
	made := &exchange.Trace{Exchange: newSpanID(), Upstream: newSpanID()}
	if !parent.IsValid() {
		made.ID = newTraceID()
		return made
	}
	made.ID, made.Parent, made.State = parent.TraceID(), parent.SpanID(), traceState
	return made
}

// export sends a span, or drops it where nothing is traced any more.
func (t *Tracing) export(one *tracev1.Span) {
	if s := t.state.Load(); s != nil {
		s.exporter.add(one)
	}
}

// ExportPolicies sends what policies have recorded: a ResourceSpans, serialized. Values that their names make secrets are
// taken out of it.
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
	s.exporter.addOthers(spans)
}

// withResource is the gateway's resource with what a process says of itself beside.
func withResource(own, gateway *resourcev1.Resource) *resourcev1.Resource {
	names := map[string]bool{}
	for _, one := range gateway.GetAttributes() {
		names[one.GetKey()] = true
	}
	all := slices.Clone(gateway.GetAttributes())
	for _, one := range own.GetAttributes() {
		if !names[one.GetKey()] {
			all = append(all, one)
		}
	}
	return &resourcev1.Resource{Attributes: all}
}

func redactSpans(list *redaction.List, spans *tracev1.ResourceSpans) {
	redact(list, spans.GetResource().GetAttributes())
	for _, scope := range spans.GetScopeSpans() {
		redact(list, scope.GetScope().GetAttributes())
		for _, one := range scope.GetSpans() {
			redactSpan(list, one)
		}
	}
}

func redactSpan(list *redaction.List, one *tracev1.Span) {
	one.Name, _ = list.Text(one.GetName())
	redact(list, one.GetAttributes())
	if status := one.GetStatus(); status != nil {
		status.Message, _ = list.Text(status.GetMessage())
	}
	for _, event := range one.GetEvents() {
		event.Name, _ = list.Text(event.GetName())
		redact(list, event.GetAttributes())
	}
	for _, link := range one.GetLinks() {
		redact(list, link.GetAttributes())
	}
}

// redact takes out values by the names of their attributes, whose last part may be that of a header
// (http.request.header.authorization), and secrets within text.
func redact(list *redaction.List, all []*commonv1.KeyValue) {
	for _, one := range all {
		redactValue(list, one.GetKey(), one.GetValue())
	}
}
