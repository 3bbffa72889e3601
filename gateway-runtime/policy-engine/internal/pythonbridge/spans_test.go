package pythonbridge

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// traced is a context within a span, like that of a recorded exchange.
func traced(t testing.TB, flags trace.TraceFlags) context.Context {
	t.Helper()
	id, err := trace.TraceIDFromHex(traceID)
	must(err)
	span, err := trace.SpanIDFromHex(spanID)
	must(err)
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags}))
}

func TestTraceparentOfAContext(t *testing.T) {
	for name, c := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"recorded":     {traced(t, trace.FlagsSampled), "00-" + traceID + "-" + spanID + "-01"},
		"not recorded": {traced(t, 0), ""},
		"no span":      {t.Context(), ""},
		"no valid one": {trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceFlags: trace.FlagsSampled})), ""},
	} {
		if got := string(traceparent(c.ctx)); got != c.want {
			t.Errorf("%s: expected %q, got %q", name, c.want, got)
		}
	}
}

func TestEachKindOfExecutionCarriesItsSpan(t *testing.T) {
	target, req := newInstance(&executorv1.ConfigureInstance{}), request()
	res := &v1alpha.ResponseContext{Request: req, StatusCode: 200, Metadata: &v1alpha.ExchangeMetadata{}}
	make := map[string]func(context.Context) (*execution, error){
		"request":         func(ctx context.Context) (*execution, error) { return requestExecution(ctx, target, req) },
		"response":        func(ctx context.Context) (*execution, error) { return responseExecution(ctx, target, res) },
		"request stream":  func(ctx context.Context) (*execution, error) { return requestStreamExecution(ctx, target, req) },
		"response stream": func(ctx context.Context) (*execution, error) { return responseStreamExecution(ctx, target, res) },
	}
	for name, made := range make {
		recorded, err := made(traced(t, trace.FlagsSampled))
		must(err)
		if got := string(recorded.message.GetTraceparent()); !strings.Contains(got, spanID) {
			t.Errorf("%s: expected the span %s, got %q", name, spanID, got)
		}
		other, err := made(t.Context())
		must(err)
		if got := other.message.GetTraceparent(); got != nil {
			t.Errorf("%s: expected none where nothing is recorded, got %q", name, got)
		}
	}
}

func TestSpansOfAFrameAreBounded(t *testing.T) {
	large, small := bytes.Repeat([]byte("x"), maxFrameSpanBytes/2), []byte("small")
	var got [][]byte
	hand := func(spans []byte) { got = append(got, spans) }
	var r spanReceiver
	r.receive([][]byte{large, large, small, small}, hand)
	if len(got) != 2 || r.bytes.Load() != maxFrameSpanBytes+10 || r.dropped.Load() != 10 {
		t.Errorf("expected the first two, and 10 bytes dropped, got %d and %d of %d", len(got), r.dropped.Load(), r.bytes.Load())
	}
	r.receive([][]byte{small}, hand)
	if len(got) != 3 {
		t.Errorf("expected the next frame to have its own limit, got %d", len(got))
	}
	r.receive([][]byte{small}, nil)
	if r.dropped.Load() != 15 {
		t.Errorf("expected spans without a receiver to be dropped, got %d bytes", r.dropped.Load())
	}
}

const recordingPolicy = `
import asyncio

from opentelemetry import trace

tracer = trace.get_tracer("mine")


async def on_request(ctx, params):
    with tracer.start_as_current_span("request"):
        await asyncio.create_task(inner())


async def inner():
    tracer.start_span("inner").end()


def on_response(ctx, params):
    tracer.start_span("response").end()


async def on_request_stream(ctx, chunks, params):
    async for chunk in chunks:
        with tracer.start_as_current_span("chunk"):
            yield chunk
`

// collected are the received spans, by name: trace and parent of each.
type collected struct {
	mutex sync.Mutex
	spans map[string][]string
	news  chan struct{}
}

func (c *collected) add(t testing.TB) func([]byte) {
	return func(spans []byte) {
		var batch tracev1.ResourceSpans
		if err := proto.Unmarshal(spans, &batch); err != nil {
			t.Errorf("expected ResourceSpans, got %v", err)
		}
		c.mutex.Lock()
		defer c.mutex.Unlock()
		for _, scope := range batch.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans[span.GetName()] = append(c.spans[span.GetName()], hex.EncodeToString(span.GetTraceId())+" "+hex.EncodeToString(span.GetParentSpanId()))
			}
		}
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

func (c *collected) count() (count int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, all := range c.spans {
		count += len(all)
	}
	return count
}

func TestARealExecutorSendsTheSpansOfItsPolicies(t *testing.T) {
	x := newReal(t, recordingPolicy)
	x.start(t)
	got := &collected{spans: map[string][]string{}, news: make(chan struct{}, 1)}
	groups := NewGroups(map[string][]string{"default": {x.address}}, Options{Spans: got.add(t)}, quiet)
	t.Cleanup(groups.Close)
	ready(t, groups)
	built := await.Receive(t, build(groups), "the policy")
	must(built.err)
	policy := built.policy

	recorded := traced(t, trace.FlagsSampled)
	for _, ctx := range []context.Context{t.Context(), recorded} { // what is not traced comes first, and sends nothing
		_, err := policy.OnRequest(ctx, request())
		must(err)
		_, err = policy.OnResponse(ctx, &v1alpha.ResponseContext{Request: request(), StatusCode: 200, Metadata: &v1alpha.ExchangeMetadata{}})
		must(err)
		chunks := func(yield func([]byte, error) bool) { _ = yield([]byte("a"), nil) }
		for _, err := range policy.(v1alpha.RequestStreamer).OnRequestStream(ctx, request(), chunks) {
			must(err)
		}
	}
	for got.count() < 4 {
		await.Receive(t, got.news, "spans")
	}
	of := traceID + " " + spanID
	for _, name := range []string{"request", "response", "chunk"} {
		if !slices.Equal(got.spans[name], []string{of}) {
			t.Errorf("%s: expected one span, a child of the execution, got %v", name, got.spans[name])
		}
	}
	if inner := got.spans["inner"]; len(inner) != 1 || !strings.HasPrefix(inner[0], traceID) || inner[0] == of {
		t.Errorf("expected one child of the policy's own span, got %v", inner)
	}
	if stats := groups.Stats()[0]; stats.SpanBytes == 0 || stats.DroppedSpanBytes != 0 {
		t.Errorf("expected what came to be counted, got %d bytes, %d of them dropped", stats.SpanBytes, stats.DroppedSpanBytes)
	}
}
