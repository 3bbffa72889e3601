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
	maxQueued      = 8192     // waiting spans; further ones are dropped
	maxQueuedBytes = 16 << 20 // of the waiting spans, encoded
	maxBatch       = 512      // spans in one message
	maxBatchBytes  = 1 << 20  // bytes of one message: receivers accept 4 MiB
	flushAfter     = time.Second
	closeWait      = 3 * time.Second // for the waiting spans on close

	maxTries = 20 // tries of one message, over a minute and a half; then it is dropped
)

var retry = backoff.Doubling{First: 500 * time.Millisecond, Longest: 5 * time.Second}

// exporter sends spans to a receiver, in batches, from one goroutine. Adding a span never blocks.
type exporter struct {
	client   otlptrace.Client
	resource *resourcev1.Resource
	log      *slog.Logger
	counters *counters

	mutex   sync.Mutex
	waiting []waiting
	spans   int                // in these
	bytes   int                // of these
	full    chan struct{}      // signals that a batch is full; capacity 1
	end     context.CancelFunc // called by close
	done    chan struct{}      // run has returned
}

// waiting is a span of the engine's, or the spans that a policies' process has sent at once.
type waiting struct {
	own    *tracev1.Span
	others *tracev1.ResourceSpans
	spans  int
	bytes  int // encoded
}

// counters outlive exporters.
type counters struct{ exported, dropped atomic.Uint64 }

func newExporter(client otlptrace.Client, resource *resourcev1.Resource, counters *counters, log *slog.Logger) *exporter {
	ctx, end := context.WithCancel(context.Background())
	e := &exporter{client: client, resource: resource, log: log, counters: counters, full: make(chan struct{}, 1),
		end: end, done: make(chan struct{})}
	go e.run(ctx)
	return e
}

// add adds a span of the engine's.
func (e *exporter) add(span *tracev1.Span) {
	e.put(waiting{own: span, spans: 1, bytes: proto.Size(span)})
}

// addPolicySpans adds spans of policies.
func (e *exporter) addPolicySpans(spans *tracev1.ResourceSpans) {
	count := 0
	for _, scope := range spans.GetScopeSpans() {
		count += len(scope.GetSpans())
	}
	e.put(waiting{others: spans, spans: count, bytes: proto.Size(spans)})
}

// put adds an entry, or drops it if there is no room.
func (e *exporter) put(entry waiting) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.spans+entry.spans > maxQueued || e.bytes+entry.bytes > maxQueuedBytes {
		e.counters.dropped.Add(uint64(entry.spans)) //nolint:gosec // a length
		return
	}
	e.waiting, e.spans, e.bytes = append(e.waiting, entry), e.spans+entry.spans, e.bytes+entry.bytes
	if e.spans >= maxBatch || e.bytes >= maxBatchBytes {
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
}

// nextBatch removes waiting spans, and returns them as one message with their count. The message may exceed a batch by the spans
// that one policies' process has sent at once.
func (e *exporter) nextBatch() (message []*tracev1.ResourceSpans, count int) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	index, bytes := 0, 0
	var own []*tracev1.Span
	for ; index < len(e.waiting) && count < maxBatch; index++ {
		entry := &e.waiting[index]
		if index > 0 && bytes+entry.bytes > maxBatchBytes {
			break
		}
		count, bytes = count+entry.spans, bytes+entry.bytes
		if entry.own != nil {
			own = append(own, entry.own)
		} else {
			message = append(message, entry.others)
		}
	}
	if len(own) > 0 {
		message = append(message, &tracev1.ResourceSpans{Resource: e.resource, ScopeSpans: []*tracev1.ScopeSpans{{
			Scope: &commonv1.InstrumentationScope{Name: scopeName}, Spans: own}}})
	}
	clear(e.waiting[:index])
	e.waiting, e.spans, e.bytes = e.waiting[index:], e.spans-count, e.bytes-bytes
	return message, count
}

// run sends batches until close is called, and then the waiting spans.
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
		for message, count := e.nextBatch(); count > 0; message, count = e.nextBatch() {
			failing = e.send(ctx, message, count, failing)
		}
	}
}

// send sends one message, with retries, and returns whether the receiver fails now. It logs each change of
// that.
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

// finish tries once to send all waiting spans, and closes the connection.
func (e *exporter) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	for message, count := e.nextBatch(); count > 0; message, count = e.nextBatch() {
		if err := e.client.UploadTraces(ctx, message); err != nil {
			e.counters.dropped.Add(uint64(count)) //nolint:gosec // a length
			continue
		}
		e.counters.exported.Add(uint64(count)) //nolint:gosec // a length
	}
	_ = e.client.Stop(ctx)
}

// close sends the waiting spans, for a short time, and closes the connection.
func (e *exporter) close() {
	e.end()
	<-e.done
}

// queued returns the number of waiting spans.
func (e *exporter) queued() int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.spans
}
