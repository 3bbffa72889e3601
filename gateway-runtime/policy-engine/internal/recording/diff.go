package recording

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// snapshot is the part of an exchange between two policies by which changes are found.
type snapshot struct {
	method, path, query, authority, upstream string
	requestHeaders                           v1alpha.Headers
	requestBody                              *content
	hasResponse, answered                    bool
	status                                   int
	responseHeaders                          v1alpha.Headers
	responseBody                             *content
	metadata                                 []byte // JSON; nil: none
	analytics                                map[string]any
	trailers                                 v1alpha.Headers
}

// change is one thing that a policy has changed. Its values still contain secrets.
type change struct {
	what, name string
	before     any // nil: absent; []string of headers, *bodyIn of bodies, *answer of answers
	after      any
}

// answer is a response that a policy has made.
type answer struct {
	status  int
	headers v1alpha.Headers
	body    *content
}

// diff returns the changes from before to after. answers: the policy has made the response of after.
func diff(before, after *snapshot, answers bool) []change {
	var changes []change
	compare := func(what, from, to string) {
		if from != to {
			changes = append(changes, change{what: what, before: orNil(from), after: orNil(to)})
		}
	}
	compare("method", before.method, after.method)
	compare("path", before.path, after.path)
	compare("query", before.query, after.query)
	compare("authority", before.authority, after.authority)
	compare("upstream", before.upstream, after.upstream)
	changes = appendHeaders(changes, "header", before.requestHeaders, after.requestHeaders)
	changes = appendBody(changes, bodyIn{before.requestBody, before.requestHeaders}, bodyIn{after.requestBody, after.requestHeaders})
	switch {
	case answers:
		changes = append(changes, change{what: "answer", after: &answer{after.status, after.responseHeaders, after.responseBody}})
	case before.hasResponse && after.hasResponse:
		if before.status != after.status {
			changes = append(changes, change{what: "status", before: before.status, after: after.status})
		}
		changes = appendHeaders(changes, "header", before.responseHeaders, after.responseHeaders)
		changes = appendBody(changes, bodyIn{before.responseBody, before.responseHeaders}, bodyIn{after.responseBody, after.responseHeaders})
	}
	changes = appendHeaders(changes, "trailer", before.trailers, after.trailers)
	if !bytes.Equal(before.metadata, after.metadata) {
		changes = appendValues(changes, "metadata", parseObject(before.metadata), parseObject(after.metadata))
	}
	return appendValues(changes, "analytics", before.analytics, after.analytics)
}

// orNil returns nil for an empty text.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// appendHeaders adds a change for each name whose values differ, in the order of their first line before or after. Header lists
// are immutable: the same list means the same headers.
func appendHeaders(changes []change, kind string, before, after v1alpha.Headers) []change {
	if len(before) == len(after) && (len(before) == 0 || &before[0] == &after[0]) {
		return changes
	}
	same := 0 // equal lines at the beginning: usually most of them
	for same < min(len(before), len(after)) && before[same] == after[same] {
		same++
	}
	var room [8]string
	seen := room[:0]
	for _, headers := range [...]v1alpha.Headers{before[same:], after[same:]} {
		for n := range headers {
			name := headers[n].Name
			if slices.Contains(seen, name) {
				continue
			}
			seen = append(seen, name)
			if !haveSame(before, after, name) {
				changes = append(changes, change{what: kind, name: name, before: list(valuesOf(before, name)), after: list(valuesOf(after, name))})
			}
		}
	}
	return changes
}

// haveSame reports whether both lists have the same values of a name.
func haveSame(before, after v1alpha.Headers, name string) bool {
	at := 0
	for n := range before {
		if before[n].Name != name {
			continue
		}
		for at < len(after) && after[at].Name != name {
			at++
		}
		if at == len(after) || after[at].Value != before[n].Value {
			return false
		}
		at++
	}
	return !after[at:].Has(name)
}

func valuesOf(headers v1alpha.Headers, name string) []string {
	return slices.Collect(headers.Values(name))
}

// list returns nil for no values.
func list(values []string) any {
	if len(values) == 0 {
		return nil
	}
	return values
}

// bodyIn is a body with its message's headers, which describe it.
type bodyIn struct {
	*content
	headers v1alpha.Headers
}

func appendBody(changes []change, before, after bodyIn) []change {
	if before.same(after.content) {
		return changes
	}
	c := change{what: "body"}
	if before.content != nil {
		c.before = &before
	}
	if after.content != nil {
		c.after = &after
	}
	return append(changes, c)
}

func appendValues(changes []change, kind string, before, after map[string]any) []change {
	if len(before) == 0 && len(after) == 0 {
		return changes
	}
	names := maps.Clone(before)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		oldValue, hadOld := before[name]
		newValue, hasNew := after[name]
		if hadOld != hasNew || !reflect.DeepEqual(oldValue, newValue) {
			changes = append(changes, change{what: kind, name: name, before: orNull(oldValue, hadOld), after: orNull(newValue, hasNew)})
		}
	}
	return changes
}

// null is a JSON null that is present.
type null struct{}

// MarshalJSON returns null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// orNull distinguishes a present null from an absent value.
func orNull(v any, present bool) any {
	if present && v == nil {
		return null{}
	}
	return v
}

// parseObject parses a JSON object; numbers keep their text.
func parseObject(text []byte) map[string]any {
	if text == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var values map[string]any
	if err := decoder.Decode(&values); err != nil {
		return map[string]any{}
	}
	return values
}

// snapshotOf makes a snapshot of a view. Bodies that have not changed since the last snapshot are shared with it.
func (d *draft) snapshotOf(v *chain.View) snapshot {
	s := snapshot{
		method: v.Method, path: v.Path, query: v.Query, authority: v.Authority, upstream: v.Upstream,
		requestHeaders: v.RequestHeaders, hasResponse: v.HasResponse, answered: v.Answered, status: v.Status,
		responseHeaders: v.ResponseHeaders, analytics: maps.Clone(v.Analytics),
	}
	s.requestBody = d.contentOf(chain.Request, &v.RequestBody)
	s.responseBody = d.contentOf(chain.Response, &v.ResponseBody)
	s.metadata, _ = v.Metadata.JSON() // metadata without a JSON form is not recorded
	return s
}
