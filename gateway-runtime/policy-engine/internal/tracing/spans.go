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

// maxText is how many bytes of one text are told: a client may send 60 KiB of a path, and thousands of spans may wait.
const maxText = 4096

// shown is text as a message takes it: UTF-8, which what a client sends need not be, and no longer than maxText.
func shown(text string) string {
	cut := text[:min(len(text), maxText)]
	if len(cut) < len(text) { // within a character, perhaps
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
		*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: shown(value)}}})
	}
}

func (a *attributes) number(key string, value int64) {
	*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: value}}})
}

func (a *attributes) yes(key string) {
	*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{BoolValue: true}}})
}

// Flags of a span: the W3C's in the first byte, and whether the parent is of another process.
const (
	knowsRemote = uint32(tracev1.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	isRemote    = uint32(tracev1.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

// span is one of the trace. parent: not valid for the first of its trace.
func span(id trace.TraceID, self, parent trace.SpanID, name string, kind tracev1.Span_SpanKind, start, end time.Time) *tracev1.Span {
	made := &tracev1.Span{
		TraceId: id[:], SpanId: self[:], Name: shown(name), Kind: kind, Flags: uint32(trace.FlagsSampled) | knowsRemote,
		StartTimeUnixNano: uint64(start.UnixNano()), EndTimeUnixNano: uint64(end.UnixNano()), //nolint:gosec // after 1970
	}
	if parent.IsValid() {
		made.ParentSpanId = parent[:]
	}
	return made
}

func failed(reason string) *tracev1.Status {
	return &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: shown(reason)}
}
