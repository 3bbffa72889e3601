package tracing

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
)

const (
	maxQueued  = 8192 // spans that wait; what comes then is dropped
	maxBatch   = 512  // spans of one message
	flushAfter = time.Second
	closeWait  = 5 * time.Second // for what waits when it is closed

	firstPause, longestPause = 500 * time.Millisecond, 5 * time.Second // between tries
	maxTries                 = 20                                      // of one message: a minute and a half; then it is dropped
)

// exporter sends spans to a receiver, in batches, from one goroutine. Who adds waits for nothing.
type exporter struct {
	client   otlptrace.Client
	resource *resourcev1.Resource
	log      *slog.Logger
	counters *counters

	mutex   sync.Mutex
	own     []*tracev1.Span          // the engine's
	others  []*tracev1.ResourceSpans // of policies
	waiting int                      // spans in both
	full    chan struct{}            // a batch is there; one place
	end     context.CancelFunc       // close is called
	done    chan struct{}            // run has returned
}

// counters are kept while exporters change.
type counters struct{ exported, dropped atomic.Uint64 }

func newExporter(client otlptrace.Client, resource *resourcev1.Resource, counters *counters, log *slog.Logger) *exporter {
	ctx, end := context.WithCancel(context.Background())
	e := &exporter{client: client, resource: resource, log: log, counters: counters, full: make(chan struct{}, 1),
		end: end, done: make(chan struct{})}
	go e.run(ctx)
	return e
}

// add takes spans of the engine's.
func (e *exporter) add(spans ...*tracev1.Span) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.hasRoom(len(spans)) {
		e.own = append(e.own, spans...)
	}
}

// addOthers takes spans of policies.
func (e *exporter) addOthers(spans *tracev1.ResourceSpans) {
	count := 0
	for _, scope := range spans.GetScopeSpans() {
		count += len(scope.GetSpans())
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.hasRoom(count) {
		e.others = append(e.others, spans)
	}
}

// hasRoom reserves room. The caller holds the mutex.
func (e *exporter) hasRoom(count int) bool {
	if e.waiting+count > maxQueued {
		e.counters.dropped.Add(uint64(count)) //nolint:gosec // a length
		return false
	}
	if e.waiting += count; e.waiting >= maxBatch {
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
	return true
}

// take takes what waits, as one message, and how many spans it has. It may be larger than maxBatch by what one process of
// policies has sent at once.
func (e *exporter) take() (message []*tracev1.ResourceSpans, count int) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if count = min(len(e.own), maxBatch); count > 0 {
		message = append(message, &tracev1.ResourceSpans{Resource: e.resource, ScopeSpans: []*tracev1.ScopeSpans{{
			Scope: &commonv1.InstrumentationScope{Name: scopeName}, Spans: e.own[:count:count]}}})
		e.own = e.own[count:]
	}
	for count < maxBatch && len(e.others) > 0 {
		for _, scope := range e.others[0].GetScopeSpans() {
			count += len(scope.GetSpans())
		}
		message, e.others = append(message, e.others[0]), e.others[1:]
	}
	e.waiting -= count
	return message, count
}

// run sends until close is called, and what waits then.
func (e *exporter) run(ctx context.Context) {
	defer close(e.done)
	tick := time.NewTicker(flushAfter)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-e.full:
		case <-ctx.Done():
			e.finish(ctx)
			return
		}
		for message, count := e.take(); count > 0; message, count = e.take() {
			failing = e.send(ctx, message, count, failing)
		}
	}
}

// send sends one message, as often as it takes, and returns whether the receiver fails now. Each change of that is logged
// once.
func (e *exporter) send(ctx context.Context, message []*tracev1.ResourceSpans, count int, failing bool) bool {
	pause := firstPause
	for range maxTries {
		err := e.client.UploadTraces(ctx, message)
		if err == nil {
			e.counters.exported.Add(uint64(count)) //nolint:gosec // a length
			if failing {
				e.log.Info("traces are exported again", "droppedSpans", e.counters.dropped.Load())
			}
			return false
		}
		if ctx.Err() != nil {
			break
		}
		if !failing {
			e.log.Warn("traces are not exported", "reason", err.Error())
		}
		failing = true
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, longestPause)
	}
	e.counters.dropped.Add(uint64(count)) //nolint:gosec // a length
	return true
}

// finish tries once to send all that waits, and ends the connection.
func (e *exporter) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	for message, count := e.take(); count > 0; message, count = e.take() {
		if err := e.client.UploadTraces(ctx, message); err != nil {
			e.counters.dropped.Add(uint64(count)) //nolint:gosec // a length
			continue
		}
		e.counters.exported.Add(uint64(count)) //nolint:gosec // a length
	}
	_ = e.client.Stop(ctx)
}

// close sends what waits, for a short time, and ends the connection.
func (e *exporter) close() {
	e.end()
	<-e.done
}

// queued is how many spans wait.
func (e *exporter) queued() int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.waiting
}
