package tracing

import (
	crand "crypto/rand"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"gatewright.dev/sdk/policy/v1alpha"
)

// traceparentSize is the length of version 00: https://www.w3.org/TR/trace-context/#traceparent-header
const traceparentSize = 55

// parentOf returns the client's span that a request names, with its trace state. It is not valid if the request names none, or
// an invalid one: then a trace begins here. An invalid or too large state counts as none, since the receivers' messages
// refuse it.
func parentOf(headers v1alpha.Headers) (parent trace.SpanContext, state string) {
	lines := valuesOf(headers, "traceparent")
	if len(lines) != 1 {
		return trace.SpanContext{}, ""
	}
	text := lines[0]
	newer := len(text) > traceparentSize && text[traceparentSize] == '-' && !strings.HasPrefix(text, "00") // a newer version may be longer
	if (len(text) != traceparentSize && !newer) || strings.HasPrefix(text, "ff") || !isLowerHex(text[:2]) ||
		text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return trace.SpanContext{}, ""
	}
	id, errTrace := trace.TraceIDFromHex(text[3:35])
	span, errSpan := trace.SpanIDFromHex(text[36:52])
	flags, errFlags := hex.DecodeString(text[53:55])
	if errTrace != nil || errSpan != nil || errFlags != nil || !isLowerHex(text[53:55]) {
		return trace.SpanContext{}, ""
	}
	parent = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true,
	})
	state = strings.Join(valuesOf(headers, "tracestate"), ",")
	if _, err := trace.ParseTraceState(state); err != nil {
		state = ""
	}
	return parent, state
}

func valuesOf(headers v1alpha.Headers, name string) (values []string) {
	for _, header := range headers {
		if header.Name == name {
			values = append(values, header.Value)
		}
	}
	return values
}

func isLowerHex(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// newTraceID returns a random id, which cannot be predicted.
func newTraceID() (id trace.TraceID) {
	_, _ = crand.Read(id[:]) // never fails
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		_, _ = crand.Read(id[:])
	}
	return id
}

// sampled decides at random, for a share of all exchanges.
func sampled(share float64) bool { return share > 0 && rand.Float64() < share } //nolint:gosec // nothing depends on it but which are traced
