// Package redaction removes secrets from recordings, logs, metrics and traces, by the one list of names of the
// node's Gateway. It changes nothing else, and removes as a whole what it cannot parse.
package redaction

import (
	"bytes"
	"encoding/json"
	"strings"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// Mark replaces a secret.
const Mark = "[redacted]"

// List decides which names have secret values. Names are compared without case, "-" and "_":
// access_token, accessToken and Access-Token are equal.
//
// A nil List belongs to a node that has no list yet: every named value is secret.
type List struct {
	headers, parameters, fields names
}

// New returns the list of a Gateway; a nil message is that of a Gateway without one.
func New(settings *nodev1.Redaction) *List {
	if settings == nil {
		return nil
	}
	return &List{headers: newNames(settings.GetHeaders()), parameters: newNames(settings.GetQueryParameters()),
		fields: newNames(settings.GetFields())}
}

// Header reports whether the values of a header or trailer are secret.
func (l *List) Header(name string) bool { return l == nil || l.headers.has(name) }

// HeaderValue returns a header's value without secrets, and the number of secrets removed: the whole value if the
// header is on the list, otherwise credentials and secrets in URLs (Referer, Location, :path).
func (l *List) HeaderValue(name, value string) (string, int) {
	if l.Header(name) {
		return Mark, 1
	}
	return l.Text(value)
}

// Fields returns a copy of metadata without secrets, and the number of secrets removed. Values whose types JSON does not
// have, such as map[string]string, are converted to JSON first.
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
	return l.convert(value)
}

// convert redacts a value in its JSON form; a value without one is removed.
func (l *List) convert(value any) (any, int) {
	text, err := json.Marshal(value)
	if err != nil {
		return Mark, 1
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // keeps large numbers exact
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return Mark, 1
	}
	return l.value(plain)
}

// names is a set of names. A name that ends in "*" matches by prefix.
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

// plain normalizes a name: lower case, without "-" and "_", and without surrounding space.
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
