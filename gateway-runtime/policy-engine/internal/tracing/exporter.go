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
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/internal/backoff"
)

const (
	maxQueued      = 8192     // spans that wait; what comes then is dropped
	maxQueuedBytes = 16 << 20 // of these, encoded
	maxBatch       = 512      // spans of one message
	maxBatchBytes  = 1 << 20  // of these, encoded: receivers take 4 MiB
	flushAfter     = time.Second
	closeWait      = 3 * time.Second // for what waits when it is closed

	maxTries = 20 // of one message: a minute and a half; then it is dropped
)

var retry = backoff.Doubling{First: 500 * time.Millisecond, Longest: 5 * time.Second}

// exporter sends spans to a receiver, in batches, from one goroutine. Who adds waits for nothing.
type exporter struct {
	client   otlptrace.Client
	resource *resourcev1.Resource
	log      *slog.Logger
	counters *counters

	mutex   sync.Mutex
	waiting []waiting
	spans   int                // in these
	bytes   int                // of these
	full    chan struct{}      // a batch is there; one place
	end     context.CancelFunc // close is called
	done    chan struct{}      // run has returned
}

// waiting is a span of the engine's, or what a process of policies has sent at once.
type waiting struct {
	own    *tracev1.Span
	others *tracev1.ResourceSpans
	spans  int
	bytes  int // encoded
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

// add takes a span of the engine's.
func (e *exporter) add(span *tracev1.Span) {
	e.put(waiting{own: span, spans: 1, bytes: proto.Size(span)})
}

// addOthers takes spans of policies.
func (e *exporter) addOthers(spans *tracev1.ResourceSpans) {
	count := 0
	for _, scope := range spans.GetScopeSpans() {
		count += len(scope.GetSpans())
	}
	e.put(waiting{others: spans, spans: count, bytes: proto.Size(spans)})
}

// put adds what there is room for.
func (e *exporter) put(one waiting) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.spans+one.spans > maxQueued || e.bytes+one.bytes > maxQueuedBytes {
		e.counters.dropped.Add(uint64(one.spans)) //nolint:gosec // a length
		return
	}
	e.waiting, e.spans, e.bytes = append(e.waiting, one), e.spans+one.spans, e.bytes+one.bytes
	if e.spans >= maxBatch || e.bytes >= maxBatchBytes {
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
}

// take takes what waits, as one message, and how many spans it has. It may be larger than a batch by what one process of
// policies has sent at once.
func (e *exporter) take() (message []*tracev1.ResourceSpans, count int) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	taken, bytes := 0, 0
	var own []*tracev1.Span
	for ; taken < len(e.waiting) && count < maxBatch; taken++ {
		one := &e.waiting[taken]
		if taken > 0 && bytes+one.bytes > maxBatchBytes {
			break
		}
		count, bytes = count+one.spans, bytes+one.bytes
		if one.own != nil {
			own = append(own, one.own)
		} else {
			message = append(message, one.others)
		}
	}
	if len(own) > 0 {
		message = append(message, &tracev1.ResourceSpans{Resource: e.resource, ScopeSpans: []*tracev1.ScopeSpans{{
			Scope: &commonv1.InstrumentationScope{Name: scopeName}, Spans: own}}})
	}
	clear(e.waiting[:taken])
	e.waiting, e.spans, e.bytes = e.waiting[taken:], e.spans-count, e.bytes-bytes
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
	for failures := range maxTries {
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
		backoff.Sleep(ctx, retry.Wait(failures))
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
	return e.spans
}
