package tracing

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/sdk/policy/v1alpha"
)

// tracedExchange makes the spans of an exchange's executions. The spans of the exchange itself and of its upstream request are made
// of Envoy's log entry, which has all of their data: accesslog.go.
type tracedExchange struct {
	tracing *Tracing
	trace   *exchange.Trace
	head    chain.Head
	began   time.Time

	api, operation string

	mutex   sync.Mutex // streams of both directions call at once
	running map[chain.Turn]runningExecution
}

type runningExecution struct {
	span  trace.SpanID
	began time.Time
}

// Trace returns the exchange's trace.
func (t *tracedExchange) Trace() *exchange.Trace { return t.trace }

// ExecutionBegan makes the execution's span the current one of the hook's context.
func (t *tracedExchange) ExecutionBegan(ctx context.Context, turn chain.Turn, _ chain.View) context.Context {
	return t.begin(ctx, turn)
}

// ShadowBegan begins a span, as for any execution.
func (t *tracedExchange) ShadowBegan(ctx context.Context, turn chain.Turn) context.Context {
	return t.begin(ctx, turn)
}

func (t *tracedExchange) begin(ctx context.Context, turn chain.Turn) context.Context {
	id := newSpanID()
	t.mutex.Lock()
	t.running[turn] = runningExecution{id, time.Now()}
	t.mutex.Unlock()
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: t.trace.ID, SpanID: id, TraceFlags: trace.FlagsSampled,
	}))
}

// ExecutionSkipped makes no span, since nothing ran.
func (*tracedExchange) ExecutionSkipped(chain.Turn, string) {}

// ExecutionEnded exports the execution's span.
func (t *tracedExchange) ExecutionEnded(turn chain.Turn, execution chain.Execution, _ chain.View) {
	t.end(turn, &execution)
}

// ShadowEnded exports the shadow's span, which may end after the exchange's.
func (t *tracedExchange) ShadowEnded(turn chain.Turn, shadow chain.Shadow) {
	if shadow.Execution.Shadow != chain.NotShadow {
		t.end(turn, &shadow.Execution)
	}
}

func (t *tracedExchange) end(turn chain.Turn, execution *chain.Execution) {
	t.mutex.Lock()
	began := t.running[turn]
	delete(t.running, turn)
	t.mutex.Unlock()
	result := span(t.trace.ID, began.span, t.trace.Exchange, turn.Policy+" "+turn.Phase, tracev1.Span_SPAN_KIND_INTERNAL, began.began, time.Now())
	result.TraceState = t.trace.State
	var set attributes
	set.text(policyAttribute, turn.Policy)
	set.text(phaseAttribute, turn.Phase)
	set.text(apiAttribute, t.api)
	set.text(operationAttribute, t.operation)
	set.text(shadowAttribute, execution.Shadow.String())
	switch failure := execution.Failure; {
	case execution.Cancelled:
		set.text(outcomeAttribute, "cancelled")
	case failure != nil:
		set.text(outcomeAttribute, string(failure.Class))
		set.text(errorType, string(failure.Class))
		reason, _ := t.tracing.redaction().Text(failure.Message)
		result.Status = errorStatus(reason)
		if execution.Continued {
			set.yes(continuedAttribute)
		}
	case execution.Answered:
		set.text(outcomeAttribute, "answered")
	default:
		set.text(outcomeAttribute, "ok")
	}
	result.Attributes = set
	t.tracing.export(result)
}

// ExchangeEnded exports the exchange's span itself if Envoy does not know of the trace: the client disconnected first,
// or the engine has failed.
func (t *tracedExchange) ExchangeEnded(ended exchange.Exchange) {
	t.tracing.active.CompareAndDelete(ended.RequestID, t)
	if t.trace.Sent.Load() {
		return
	}
	result := t.tracing.serverSpan(&serverSpan{
		trace: t.trace, api: t.api, operation: t.operation, method: t.head.Method, path: t.head.Path, scheme: t.head.Scheme,
		authority: t.head.Authority, client: t.head.ClientAddress, userAgent: t.head.Headers.Get("user-agent"),
		requestID: t.head.RequestID, start: t.began, end: time.Now(),
	})
	switch ended.Result {
	case chain.Completed:
	case chain.Cancelled:
		result.Attributes = append(result.Attributes, textAttribute(outcomeAttribute, "cancelled"))
	case chain.Failed:
		result.Attributes = append(result.Attributes, textAttribute(errorType, "exchange_failed"))
		result.Status = errorStatus("the exchange failed; the engine's log says why")
	}
	t.tracing.export(result)
}

// Spans contain nothing of bodies and heads.

// StreamChunk does nothing.
func (*tracedExchange) StreamChunk(chain.Turn, chain.Side, []byte) {}

// MessageHead does nothing.
func (*tracedExchange) MessageHead(chain.Direction, chain.Side, chain.View) {}

// MessagePiece does nothing.
func (*tracedExchange) MessagePiece(chain.Direction, chain.Side, []byte) {}

// MessageRest does nothing.
func (*tracedExchange) MessageRest(chain.Direction) {}

// MessageTrailers does nothing.
func (*tracedExchange) MessageTrailers(chain.Direction, chain.Side, v1alpha.Headers) {}

// MessageAnalytics does nothing.
func (*tracedExchange) MessageAnalytics(chain.Direction, map[string]any) {}
