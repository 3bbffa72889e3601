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

// snapshot is an exchange between two policies, as far as it tells what one of them has changed.
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

// change is one thing that a policy has changed: its values are as they were, with secrets in them.
type change struct {
	what, name string
	before     any // nil: there was none; []string of headers, *bodyIn of bodies, *answer of answers
	after      any
}

// answer is a response of a policy's own.
type answer struct {
	status  int
	headers v1alpha.Headers
	body    *content
}

// diff says what makes after of before. answers: the policy has made the response, as after has it.
func diff(before, after *snapshot, answers bool) []change {
	var all []change
	text := func(what, was, is string) {
		if was != is {
			all = append(all, change{what: what, before: present(was), after: present(is)})
		}
	}
	text("method", before.method, after.method)
	text("path", before.path, after.path)
	text("query", before.query, after.query)
	text("authority", before.authority, after.authority)
	text("upstream", before.upstream, after.upstream)
	all = appendHeaders(all, "header", before.requestHeaders, after.requestHeaders)
	all = appendBody(all, bodyIn{before.requestBody, before.requestHeaders}, bodyIn{after.requestBody, after.requestHeaders})
	switch {
	case answers:
		all = append(all, change{what: "answer", after: &answer{after.status, after.responseHeaders, after.responseBody}})
	case before.hasResponse && after.hasResponse:
		if before.status != after.status {
			all = append(all, change{what: "status", before: before.status, after: after.status})
		}
		all = appendHeaders(all, "header", before.responseHeaders, after.responseHeaders)
		all = appendBody(all, bodyIn{before.responseBody, before.responseHeaders}, bodyIn{after.responseBody, after.responseHeaders})
	}
	all = appendHeaders(all, "trailer", before.trailers, after.trailers)
	if !bytes.Equal(before.metadata, after.metadata) {
		all = appendValues(all, "metadata", object(before.metadata), object(after.metadata))
	}
	return appendValues(all, "analytics", before.analytics, after.analytics)
}

// present is nil for what is not there.
func present(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// appendHeaders adds a change for each name whose values differ, in the order of their first line before or after. Lists
// are never changed, so that the same list is the same headers.
func appendHeaders(all []change, what string, before, after v1alpha.Headers) []change {
	if len(before) == len(after) && (len(before) == 0 || &before[0] == &after[0]) {
		return all
	}
	same := 0 // lines at the beginning that are the same: most are
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
				all = append(all, change{what: what, name: name, before: list(valuesOf(before, name)), after: list(valuesOf(after, name))})
			}
		}
	}
	return all
}

// haveSame reports whether both have the same values of a name.
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

// list is nil for no values.
func list(values []string) any {
	if len(values) == 0 {
		return nil
	}
	return values
}

// bodyIn is a body in a message with these headers, which say what it is.
type bodyIn struct {
	*content
	headers v1alpha.Headers
}

func appendBody(all []change, before, after bodyIn) []change {
	if before.same(after.content) {
		return all
	}
	c := change{what: "body"}
	if before.content != nil {
		c.before = &before
	}
	if after.content != nil {
		c.after = &after
	}
	return append(all, c)
}

func appendValues(all []change, what string, before, after map[string]any) []change {
	if len(before) == 0 && len(after) == 0 {
		return all
	}
	names := maps.Clone(before)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, had := before[name]
		is, has := after[name]
		if had != has || !reflect.DeepEqual(was, is) {
			all = append(all, change{what: what, name: name, before: value(was, had), after: value(is, has)})
		}
	}
	return all
}

// null is a value that is there and is null.
type null struct{}

// MarshalJSON is null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// value keeps null apart from nothing.
func value(v any, there bool) any {
	if there && v == nil {
		return null{}
	}
	return v
}

// object reads a JSON object; numbers stay as they are written.
func object(text []byte) map[string]any {
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

// snapshotOf keeps what a view shows. last are the bodies as they were seen before, which may be the same still.
func (d *draft) snapshotOf(v *chain.View) snapshot {
	s := snapshot{
		method: v.Method, path: v.Path, query: v.Query, authority: v.Authority, upstream: v.Upstream,
		requestHeaders: v.RequestHeaders, hasResponse: v.HasResponse, answered: v.Answered, status: v.Status,
		responseHeaders: v.ResponseHeaders, analytics: maps.Clone(v.Analytics),
	}
	s.requestBody = d.contentOf(chain.Request, &v.RequestBody)
	s.responseBody = d.contentOf(chain.Response, &v.ResponseBody)
	s.metadata, _ = v.Metadata.JSON() // what cannot be written is in no recording
	return s
}
