package tracing

import (
	"strings"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"

	"gatewright.dev/policy-engine/internal/redaction"
)

// redactValue redacts a value whose name is secret, and secrets within text.
func redactValue(list *redaction.List, name string, value *commonv1.AnyValue) {
	if value == nil { // OTLP allows it
		return
	}
	short := name[strings.LastIndexByte(name, '.')+1:]
	if secret(list, name) || secret(list, short) {
		value.Value = &commonv1.AnyValue_StringValue{StringValue: redaction.Mark}
		return
	}
	switch kind := value.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		if strings.HasSuffix(name, "url.query") {
			kind.StringValue, _ = list.Query(kind.StringValue)
			return
		}
		kind.StringValue, _ = list.Text(kind.StringValue)
	case *commonv1.AnyValue_ArrayValue:
		for _, item := range kind.ArrayValue.GetValues() {
			redactValue(list, name, item)
		}
	case *commonv1.AnyValue_KvlistValue:
		redact(list, kind.KvlistValue.GetValues())
	case *commonv1.AnyValue_BytesValue:
		value.Value = &commonv1.AnyValue_StringValue{StringValue: redaction.Mark} // its content is unknown
	}
}

func secret(list *redaction.List, name string) bool {
	name = strings.ToLower(name)
	if list.Header(name) || list.Header(strings.ReplaceAll(name, "_", "-")) {
		return true
	}
	_, count := list.Fields(map[string]any{name: ""})
	return count > 0
}
