package logexport

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"
)

// line is a log line as an OpenTelemetry record. traced is a context with the line's span, if it names one.
type line struct {
	component string
	record    otellog.Record
	traced    context.Context //nolint:containedctx // OpenTelemetry takes a record's span from a context
}

var severities = map[string]otellog.Severity{
	"debug": otellog.SeverityDebug, "info": otellog.SeverityInfo, "warning": otellog.SeverityWarn, "error": otellog.SeverityError,
}

// readLine parses a line in the form of all log lines: time, level, component and message, then further fields.
func readLine(raw []byte) line {
	l := line{component: "unknown", traced: context.Background()}
	l.record.SetObservedTimestamp(time.Now())
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var fields map[string]any
	if decoder.Decode(&fields) != nil {
		l.record.SetBody(attribute.StringValue(strings.ToValidUTF8(string(raw), "\uFFFD")))
		return l
	}
	l.readStandard(fields)
	l.readSpan(fields)
	for name, value := range fields {
		l.record.AddAttributes(attribute.KeyValue{Key: attribute.Key(name), Value: valueOf(value)})
	}
	return l
}

// readStandard removes the standard fields from fields and sets the record's.
func (l *line) readStandard(fields map[string]any) {
	if at, err := time.Parse(time.RFC3339Nano, popText(fields, "time")); err == nil {
		l.record.SetTimestamp(at)
	}
	level := popText(fields, "level")
	l.record.SetSeverityText(level)
	l.record.SetSeverity(severities[level])
	if component := popText(fields, "component"); component != "" {
		l.component = component
	}
	l.record.SetBody(attribute.StringValue(popText(fields, "message")))
}

// readSpan removes traceId and spanId from fields if they are valid, and sets the line's span.
func (l *line) readSpan(fields map[string]any) {
	traceText, _ := fields["traceId"].(string)
	spanText, _ := fields["spanId"].(string)
	traceID, err := trace.TraceIDFromHex(traceText)
	if err != nil {
		return
	}
	delete(fields, "traceId")
	settings := trace.SpanContextConfig{TraceID: traceID, TraceFlags: trace.FlagsSampled}
	if spanID, err := trace.SpanIDFromHex(spanText); err == nil {
		settings.SpanID = spanID
		delete(fields, "spanId")
	}
	l.traced = trace.ContextWithSpanContext(l.traced, trace.NewSpanContext(settings))
}

func popText(fields map[string]any, name string) string {
	text, _ := fields[name].(string)
	delete(fields, name)
	return text
}

func valueOf(value any) attribute.Value {
	switch value := value.(type) {
	case string:
		return attribute.StringValue(value)
	case bool:
		return attribute.BoolValue(value)
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return attribute.Int64Value(whole)
		}
		number, _ := value.Float64()
		return attribute.Float64Value(number)
	case []any:
		items := make([]attribute.Value, len(value))
		for i, item := range value {
			items[i] = valueOf(item)
		}
		return attribute.SliceValue(items...)
	case map[string]any:
		var members []attribute.KeyValue
		for name, item := range value {
			members = append(members, attribute.KeyValue{Key: attribute.Key(name), Value: valueOf(item)})
		}
		return attribute.MapValue(members...)
	}
	return attribute.Value{}
}
