package tracing

import (
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
)

// scopeName is the instrumentation scope of the gateway's own spans.
const scopeName = "gatewright"

// Attributes that OpenTelemetry has no names for.
const (
	apiAttribute       = "gatewright.api"
	operationAttribute = "gatewright.operation"
	requestIDAttribute = "gatewright.request_id"
	detailsAttribute   = "gatewright.details"
	flagsAttribute     = "gatewright.response_flags"
	policyAttribute    = "gatewright.policy"
	phaseAttribute     = "gatewright.phase"
	outcomeAttribute   = "gatewright.outcome"
	shadowAttribute    = "gatewright.shadow" // same, different, failed or skipped, of a shadow attachment's
	continuedAttribute = "gatewright.continued"
	errorType          = "error.type"
)

// maxText bounds the bytes of one text: a client may send a path of 60 KiB, and thousands of spans may wait.
const maxText = 4096

// truncated returns a text in the form that messages accept: UTF-8, and no longer than maxText.
func truncated(text string) string {
	cut := text[:min(len(text), maxText)]
	if len(cut) < len(text) { // perhaps within a character
		for back := 1; back < utf8.UTFMax && back <= len(cut); back++ {
			if begin := cut[len(cut)-back:]; utf8.RuneStart(begin[0]) {
				if !utf8.FullRuneInString(begin) {
					cut = cut[:len(cut)-back]
				}
				break
			}
		}
	}
	return strings.ToValidUTF8(cut, "\uFFFD")
}

// attributes of a span. Those without a value are left out.
type attributes []*commonv1.KeyValue

func (a *attributes) text(key, value string) {
	if value != "" {
		*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: truncated(value)}}})
	}
}

func (a *attributes) number(key string, value int64) {
	*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: value}}})
}

func (a *attributes) yes(key string) {
	*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{BoolValue: true}}})
}

// Flags of a span: the W3C's in the first byte, and whether the parent belongs to another process.
const (
	knowsRemote = uint32(tracev1.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	isRemote    = uint32(tracev1.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

// span makes a span. parent is not valid for the first span of a trace.
func span(id trace.TraceID, self, parent trace.SpanID, name string, kind tracev1.Span_SpanKind, start, end time.Time) *tracev1.Span {
	result := &tracev1.Span{
		TraceId: id[:], SpanId: self[:], Name: truncated(name), Kind: kind, Flags: uint32(trace.FlagsSampled) | knowsRemote,
		StartTimeUnixNano: uint64(start.UnixNano()), EndTimeUnixNano: uint64(end.UnixNano()), //nolint:gosec // after 1970
	}
	if parent.IsValid() {
		result.ParentSpanId = parent[:]
	}
	return result
}

func errorStatus(reason string) *tracev1.Status {
	return &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: truncated(reason)}
}
