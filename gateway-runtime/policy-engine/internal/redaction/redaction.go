// Package redaction takes secrets out of what is recorded, logged, counted or traced, by one list of names: that of the
// node's Gateway. It changes nothing else, and what it cannot read it takes out as a whole.
package redaction

import (
	"bytes"
	"encoding/json"
	"strings"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// List says which names have secrets as values. Names are the same whatever their case, and with or without "-" and "_":
// access_token, accessToken and Access-Token are one.
//
// A nil List is that of a node which does not know its list yet: every value that has a name is a secret.
type List struct {
	headers, parameters, fields names
}

// New is the list of a Gateway. nil is that of a node without one.
func New(message *nodev1.Redaction) *List {
	if message == nil {
		return nil
	}
	return &List{headers: newNames(message.GetHeaders()), parameters: newNames(message.GetQueryParameters()),
		fields: newNames(message.GetFields())}
}

// Header reports whether the values of a header or trailer are secrets.
func (l *List) Header(name string) bool { return l == nil || l.headers.has(name) }

// HeaderValue is the value of a header as it may be shown, and how many secrets were taken out of it: all of it where the
// header is one of the list, else credentials and what stands in URLs (Referer, Location, :path).
func (l *List) HeaderValue(name, value string) (string, int) {
	if l.Header(name) {
		return Mark, 1
	}
	return l.Text(value)
}

// Fields is a copy of metadata as it may be shown, and how many secrets were taken out of it. Values of other types than
// those of JSON, a map[string]string for one, are read as the JSON that they become.
func (l *List) Fields(fields map[string]any) (map[string]any, int) {
	if fields == nil {
		return nil, 0
	}
	shown, total := make(map[string]any, len(fields)), 0
	for name, value := range fields {
		count := 1
		if l.field(name) {
			shown[name] = Mark
		} else {
			shown[name], count = l.value(value)
		}
		total += count
	}
	return shown, total
}

func (l *List) field(name string) bool { return l == nil || l.fields.has(name) }

func (l *List) value(value any) (any, int) {
	switch value := value.(type) {
	case string:
		return l.nested(value)
	case map[string]any:
		return l.Fields(value)
	case []any:
		shown, total := make([]any, len(value)), 0
		for i, item := range value {
			var count int
			shown[i], count = l.value(item)
			total += count
		}
		return shown, total
	case nil, bool, float64, int, int64, uint64, json.Number:
		return value, 0
	}
	return l.other(value)
}

// other is a value as the JSON that it becomes; what becomes none is taken out.
func (l *List) other(value any) (any, int) {
	text, err := json.Marshal(value)
	if err != nil {
		return Mark, 1
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // so that a large one stays as it is
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return Mark, 1
	}
	return l.value(plain)
}

// names is a set of names, those that end in "*" for any rest.
type names struct {
	exact    map[string]struct{}
	prefixes []string
}

func newNames(listed []string) names {
	n := names{exact: make(map[string]struct{}, len(listed))}
	for _, name := range listed {
		if prefix, any := strings.CutSuffix(name, "*"); any {
			n.prefixes = append(n.prefixes, plain(prefix))
		} else {
			n.exact[plain(name)] = struct{}{}
		}
	}
	return n
}

func (n names) has(name string) bool {
	name = plain(name)
	if _, found := n.exact[name]; found {
		return true
	}
	for _, prefix := range n.prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// plain is a name without what is spelled in different ways: case, "-", "_", and what stands around it.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-', r == '_', r == ' ', r == '\t':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
