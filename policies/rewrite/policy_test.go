package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"gatewright.dev/policies/rewrite"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = rewrite.GetPolicy

func request(context, below, query string) *v1alpha.RequestContext {
	return &v1alpha.RequestContext{
		Method: "GET", RawPath: strings.TrimSuffix(context, "/") + below, Query: query, APIContext: context, APIName: "shop",
		Headers: v1alpha.Headers{}, Metadata: &v1alpha.ExchangeMetadata{},
	}
}

// rewritten returns the path and query that upstream gets; "400": the request is refused.
func rewritten(t *testing.T, params string, req *v1alpha.RequestContext) string {
	t.Helper()
	policy, err := rewrite.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	action, err := policy.OnRequest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if answer, ok := action.(*v1alpha.ImmediateResponse); ok {
		return fmt.Sprint(answer.StatusCode)
	}
	changes, path, query := action.(*v1alpha.UpstreamRequestModifications), req.RawPath, req.Query
	if changes.Path != nil {
		path = *changes.Path
	}
	if changes.Query != nil {
		query = *changes.Query
	}
	if query == "" {
		return path
	}
	return path + "?" + query
}

func TestPaths(t *testing.T) {
	const (
		moved = `{"path": {"prefix": {"from": "/v1", "to": "/v2/a"}}}`
		taken = `{"path": {"prefix": {"from": "/v1/", "to": "/"}}}`
		put   = `{"path": {"prefix": {"from": "/", "to": "/v2"}}}`
		users = `{"path": {"regex": {"pattern": "^/users/(?P<id>[^/]+)(/.*)?$", "replacement": "/accounts/${id}$2"}}}`
	)
	for _, test := range []struct{ params, context, below, want string }{
		{moved, "/shop", "/v1/items/7", "/shop/v2/a/items/7"},
		{moved, "/shop", "/v1", "/shop/v2/a"},
		{moved, "/shop", "/v11/items", "/shop/v11/items"},
		{moved, "/", "/v1/items", "/v2/a/items"},
		{taken, "/shop", "/v1/items", "/shop/items"},
		{taken, "/shop", "/v1", "/shop"},
		{taken, "/", "/v1", "/"},
		{put, "/shop", "/items", "/shop/v2/items"},
		{put, "/shop", "", "/shop/v2"},
		{users, "/shop", "/users/7", "/shop/accounts/7"},
		{users, "/shop", "/users/a%20b/x", "/shop/accounts/a%20b/x"},
		{users, "/shop", "/user/7", "/shop/user/7"},
		{`{"path": {"regex": {"pattern": "o", "replacement": "$$0"}}}`, "/", "/foo", "/f$0$0"},
		{`{"path": {"regex": {"pattern": "^/a/(.*)$", "replacement": "/b/$1/c"}}}`, "/", "/a/", "400"},
		{`{"path": {"regex": {"pattern": "x", "replacement": ""}}}`, "/", "/a/.x./b", "400"},
		{`{"path": {"template": "/v2/items"}}`, "/shop", "/anything", "/shop/v2/items"},
	} {
		if got := rewritten(t, test.params, request(test.context, test.below, "")); got != test.want {
			t.Errorf("%s of %s%s: expected %s, got %s", test.params, test.context, test.below, test.want, got)
		}
	}
}

// TestNoValueLeavesItsSegment: in any spelling.
func TestNoValueLeavesItsSegment(t *testing.T) {
	for value, want := range map[string]string{
		"7": "/shop/v2/7/x", "a b": "/shop/v2/a%20b/x", "é;?#%": "/shop/v2/%C3%A9%3B%3F%23%25/x", "..a": "/shop/v2/..a/x",
		"..": "400", ".": "400", "a/b": "400", "../..": "400", `a\b`: "400", "%2e%2e": "400", "a%2Fb": "400", "a%5cb": "400", "%2E": "400",
		"a\x00": "400", "%00": "400", "": "400", "\r\n": "/shop/v2/%0D%0A/x",
	} {
		req := request("/shop", "/x", "")
		req.Headers = v1alpha.Headers{{Name: "x-tenant", Value: value}}
		if got := rewritten(t, `{"path": {"template": "/v2/${header.x-tenant}/x"}}`, req); got != want {
			t.Errorf("%q: expected %s, got %s", value, want, got)
		}
	}
	for encoded, want := range map[string]string{"a%20b": "/shop/a%20b", "%2e%2e": "400", "%252e%252e": "400", "a%2fb": "400", "caf%c3%a9": "/shop/caf%C3%A9"} {
		req := request("/shop", "/"+encoded, "")
		req.PathParams = v1alpha.PathParams{{Name: "id", Encoded: encoded}}
		if got := rewritten(t, `{"path": {"template": "/${path.id}"}}`, req); got != want {
			t.Errorf("%q: expected %s, got %s", encoded, want, got)
		}
	}
}

func TestQueries(t *testing.T) {
	const params = `{"query": {"set": [{"name": "tenant", "value": "${header.x-tenant}"}, {"name": "a b", "value": "1&2=3"}], "remove": ["debug", "ü"]}}`
	for _, test := range []struct{ query, tenant, want string }{
		{"", "", "/shop/x?a%20b=1%262%3D3"},
		{"page=2&b=%zz&&c", "blue", "/shop/x?page=2&b=%zz&c&tenant=blue&a%20b=1%262%3D3"},
		{"tenant=red&tenan%74=green&Tenant=x&debug&debug=1&%C3%BC=1&a+b=0", "b&l=ue", "/shop/x?Tenant=x&tenant=b%26l%3Due&a%20b=1%262%3D3"},
		{"tenant=red", "", "/shop/x?a%20b=1%262%3D3"},
		{"x=1", "\r\n#", "/shop/x?x=1&tenant=%0D%0A%23&a%20b=1%262%3D3"},
	} {
		req := request("/shop", "/x", test.query)
		req.Headers = v1alpha.Headers{{Name: "x-tenant", Value: test.tenant}}
		if got := rewritten(t, params, req); got != test.want {
			t.Errorf("%q: expected %s, got %s", test.query, test.want, got)
		}
	}
}

func TestHostAndMethod(t *testing.T) {
	policy, err := rewrite.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"host": "items.internal:8080", "method": "POST"}`))
	if err != nil {
		t.Fatal(err)
	}
	action, err := policy.OnRequest(t.Context(), request("/", "/x", "a=1"))
	if err != nil {
		t.Fatal(err)
	}
	changes := action.(*v1alpha.UpstreamRequestModifications)
	if *changes.Authority != "items.internal:8080" || *changes.Method != "POST" || changes.Path != nil || changes.Query != nil {
		t.Errorf("expected host and method alone, got %+v", changes)
	}
}

func TestMistakesAreRefusedAtPublish(t *testing.T) {
	for params, says := range map[string]string{
		`{"path": {"template": "/${path.tenant}"}}`:                                        "path: template: expected a parameter of the operation's path, GET /{id}, got ${path.tenant}",
		`{"path": {"template": "/${nothing}"}}`:                                            "got ${nothing}",
		`{"path": {"template": "/a/../b"}}`:                                                "path: template: a part of the path is a dot segment or contains an encoded slash",
		`{"path": {"template": "/a//b"}}`:                                                  "without empty segments",
		`{"path": {"prefix": {"from": "/a", "to": "/%2e%2e"}}}`:                            "path: prefix.to: a part of the path is a dot segment",
		`{"path": {"regex": {"pattern": "(", "replacement": ""}}}`:                         "path: regex.pattern: expected a regular expression (RE2)",
		`{"path": {"regex": {"pattern": "(a{50}){20}", "replacement": ""}}}`:               "expected at most 500 instructions, got",
		`{"path": {"regex": {"pattern": "^/(.*)$", "replacement": "/$2"}}}`:                `expected a group of the pattern, got "$2"`,
		`{"path": {"regex": {"pattern": "^/(.*)$", "replacement": "/$1x"}}}`:               `write "${1}x" for a group`,
		`{"path": {"regex": {"pattern": "^/(.*)$", "replacement": "/$"}}}`:                 `got a "$" alone`,
		`{"query": {"set": [{"name": "a", "value": "1"}, {"name": "b", "value": "${x"}]}}`: `query: set[1].value: expected "}" behind "${"`,
	} {
		_, err := rewrite.GetPolicy(v1alpha.Metadata{Operation: "GET /{id}"}, v1alpha.Params(params))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: expected %q, got %v", params, says, err)
		}
	}
}

// FuzzTemplate: whatever a client sends, the path stays below the context, in its segment.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"a", "..", "%2e%2e%2f", "a/../..", "\\", "%25%32%65", "é"} {
		f.Add(seed)
	}
	policy, err := rewrite.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"path": {"template": "/v2/${header.x-a}/x"}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		req := request("/shop", "/x", "")
		req.Headers = v1alpha.Headers{{Name: "x-a", Value: value}}
		action, err := policy.OnRequest(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if changes, ok := action.(*v1alpha.UpstreamRequestModifications); ok {
			segments := strings.Split(*changes.Path, "/")
			if len(segments) != 5 || segments[1] != "shop" || segments[2] != "v2" || segments[4] != "x" || segments[3] == "." || segments[3] == ".." {
				t.Errorf("%q: expected one segment, got %s", value, *changes.Path)
			}
			if v1alpha.PercentDecoded(segments[3]) != value {
				t.Errorf("expected %q, got %q", value, segments[3])
			}
		}
	})
}
