package pythonbridge

import (
	"context"
	"encoding/hex"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// maxFrameSpanBytes bounds the spans of one reply frame. An executor sends a quarter of it at most.
const maxFrameSpanBytes = 256 << 10

// traceparent identifies the span of ctx, the parent of the policy's spans; nil if the trace is not recorded.
// https://www.w3.org/TR/trace-context/#traceparent-header
func traceparent(ctx context.Context) []byte {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsSampled() || !span.IsValid() {
		return nil
	}
	traceID, spanID := span.TraceID(), span.SpanID()
	text := append(make([]byte, 0, 55), "00-"...)
	text = hex.AppendEncode(text, traceID[:])
	text = hex.AppendEncode(append(text, '-'), spanID[:])
	return append(text, "-01"...)
}

// spanReceiver passes on the spans of one executor process, and counts them.
type spanReceiver struct {
	bytes   atomic.Uint64 // received
	dropped atomic.Uint64 // of these, not passed on
}

// receive passes on the spans of one frame, up to the limit.
func (r *spanReceiver) receive(all [][]byte, hand func([]byte)) {
	room := maxFrameSpanBytes
	for _, spans := range all {
		r.bytes.Add(uint64(len(spans)))
		if room -= len(spans); room < 0 || hand == nil {
			r.dropped.Add(uint64(len(spans)))
			continue
		}
		hand(spans)
	}
}
