package recording

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

var (
	words       = rapid.SampledFrom([]string{"", "a", "b", "c"})
	someHeaders = rapid.Custom(func(t *rapid.T) v1alpha.Headers {
		name, value := rapid.SampledFrom([]string{"x", "y", "z"}), rapid.SampledFrom([]string{"1", "2"})
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) v1alpha.Header {
			return v1alpha.Header{Name: name.Draw(t, "name"), Value: value.Draw(t, "value")}
		}), 0, 5).Draw(t, "headers")
	})
	someValues = rapid.MapOfN(rapid.SampledFrom([]string{"k", "l", "m"}), rapid.SampledFrom([]any{nil, true, "a", json.Number("1"), []any{"b"}}), 0, 3)
	someBody   = rapid.Custom(func(t *rapid.T) *content {
		if !rapid.Bool().Draw(t, "a body") {
			return nil
		}
		data := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "data")
		return &content{data: data, size: int64(len(data)), whole: true}
	})
	someSnapshot = rapid.Custom(func(t *rapid.T) *snapshot {
		s := &snapshot{
			method: words.Draw(t, "method"), path: words.Draw(t, "path"), query: words.Draw(t, "query"), authority: words.Draw(t, "authority"),
			upstream: words.Draw(t, "upstream"), requestHeaders: someHeaders.Draw(t, "request"), requestBody: someBody.Draw(t, "request body"),
			hasResponse: true, status: rapid.IntRange(200, 203).Draw(t, "status"), responseHeaders: someHeaders.Draw(t, "response"),
			responseBody: someBody.Draw(t, "response body"), trailers: someHeaders.Draw(t, "trailers"),
		}
		if values := someValues.Draw(t, "metadata"); len(values) > 0 {
			s.metadata, _ = json.Marshal(values)
		}
		s.analytics = someValues.Draw(t, "analytics")
		return s
	})
)

// state are the values of a direction that changes refer to, by name; absent values are left out.
type state map[[2]string]any

// stateOf returns the state in a snapshot. Order counts only among a header's values.
func stateOf(s *snapshot, response bool) state {
	all := state{}
	put := func(kind, name string, value any) { all[[2]string{kind, name}] = value }
	text := func(kind, value string) {
		if value != "" {
			put(kind, "", value)
		}
	}
	text("method", s.method)
	text("path", s.path)
	text("query", s.query)
	text("authority", s.authority)
	text("upstream", s.upstream)
	headers, body := s.requestHeaders, s.requestBody
	if response {
		headers, body = s.responseHeaders, s.responseBody
		put("status", "", s.status)
	}
	for kind, list := range map[string]v1alpha.Headers{"header": headers, "trailer": s.trailers} {
		for _, header := range list {
			put(kind, header.Name, slices.Collect(list.Values(header.Name)))
		}
	}
	if body != nil {
		put("body", "", string(body.data))
	}
	for kind, values := range map[string]map[string]any{"metadata": parseObject(s.metadata), "analytics": s.analytics} {
		for name, v := range values {
			put(kind, name, orNull(v, true))
		}
	}
	return all
}

func plainSide(side any) any {
	if body, ok := side.(*bodyIn); ok {
		return string(body.data)
	}
	return side
}

// TestChangesMakeAfterOfBefore: for any two snapshots, the changes applied to the first give the second; and no change is
// wrong or unnecessary.
func TestChangesMakeAfterOfBefore(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		before, after := someSnapshot.Draw(t, "before"), someSnapshot.Draw(t, "after")
		response := rapid.Bool().Draw(t, "response")
		if response { // a response's policies change nothing of the request
			after.requestHeaders, after.requestBody = before.requestHeaders, before.requestBody
		} else {
			before.hasResponse, after.hasResponse = false, false
		}
		have, want := stateOf(before, response), stateOf(after, response)
		for _, c := range diff(before, after, false) {
			key := [2]string{c.what, c.name}
			if !reflect.DeepEqual(have[key], plainSide(c.before)) || reflect.DeepEqual(plainSide(c.before), plainSide(c.after)) {
				t.Fatalf("%v: expected a change of %v, got one of %v to %v", key, have[key], c.before, c.after)
			}
			if c.after == nil {
				delete(have, key)
			} else {
				have[key] = plainSide(c.after)
			}
		}
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("expected %v, got %v", want, have)
		}
	})
}

func TestEqualSnapshotsHaveNoChanges(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		s := someSnapshot.Draw(t, "snapshot")
		other := *s
		other.requestHeaders, other.responseHeaders = slices.Clone(s.requestHeaders), slices.Clone(s.responseHeaders)
		if changes := diff(s, &other, false); len(changes) > 0 {
			t.Fatalf("expected none, got %v", changes)
		}
	})
}
