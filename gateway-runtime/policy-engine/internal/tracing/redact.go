package tracing

import (
	"strings"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"

	"gatewright.dev/policy-engine/internal/redaction"
)

// redactValue takes out what the name makes a secret, and secrets within text.
func redactValue(list *redaction.List, name string, value *commonv1.AnyValue) {
	if value == nil { // OTLP allows it
		return
	}
	short := name[strings.LastIndexByte(name, '.')+1:]
	if secret(list, name) || secret(list, short) {
		value.Value = &commonv1.AnyValue_StringValue{StringValue: redaction.Mark}
		return
	}
	switch held := value.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		if strings.HasSuffix(name, "url.query") {
			held.StringValue, _ = list.Query(held.StringValue)
			return
		}
		held.StringValue, _ = list.Text(held.StringValue)
	case *commonv1.AnyValue_ArrayValue:
		for _, one := range held.ArrayValue.GetValues() {
			redactValue(list, name, one)
		}
	case *commonv1.AnyValue_KvlistValue:
		redact(list, held.KvlistValue.GetValues())
	case *commonv1.AnyValue_BytesValue:
		value.Value = &commonv1.AnyValue_StringValue{StringValue: redaction.Mark} // nobody knows what it says
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
