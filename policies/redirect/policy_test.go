package redirect_test

import (
	"net/url"
	"strings"
	"testing"

	"gatewright.dev/policies/redirect"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = redirect.GetPolicy

// location returns the address to which a request with this path and query is redirected.
func location(t *testing.T, params, path, query string) string {
	t.Helper()
	policy, err := redirect.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{RawPath: path, Query: query})
	if err != nil {
		t.Fatal(err)
	}
	answer := action.(*v1alpha.ImmediateResponse)
	if answer.StatusCode != 308 || len(answer.Headers) != 1 || answer.Headers[0].Name != "location" {
		t.Errorf("got %+v", answer)
	}
	return answer.Headers[0].Value
}

func TestTargets(t *testing.T) {
	for _, test := range []struct{ params, path, query, want string }{
		{`{"to": "https://new.example/store", "prefix": "/shop", "keepQuery": true, "statusCode": 308}`, "/shop/orders/7", "a=1", "https://new.example/store/orders/7?a=1"},
		{`{"to": "https://new.example/store", "prefix": "/shop", "keepQuery": false, "statusCode": 308}`, "/shop/orders/7", "a=1", "https://new.example/store/orders/7"},
		{`{"to": "https://new.example", "prefix": "/shop", "statusCode": 308}`, "/shopping/7", "", "https://new.example"},
		{`{"to": "https://new.example", "prefix": "/shop", "statusCode": 308}`, "/shop", "", "https://new.example"},
		{`{"to": "https://new.example/", "prefix": "/shop", "statusCode": 308}`, "/shop/", "", "https://new.example/"},
		{`{"to": "/store", "statusCode": 308, "keepQuery": true}`, "/shop/7", "", "/store"},
		{`{"to": "/", "prefix": "/shop", "statusCode": 308}`, "/shop//evil.example", "", "/evil.example"},
		{`{"to": "/", "prefix": "/shop", "statusCode": 308}`, "/shop/%2f%2fevil.example", "", "/%2f%2fevil.example"},
	} {
		if got := location(t, test.params, test.path, test.query); got != test.want {
			t.Errorf("%s of %s: expected %s, got %s", test.params, test.path, test.want, got)
		}
	}
}

func FuzzItStaysWithTheHost(f *testing.F) {
	f.Add("/shop//evil.example/x")
	f.Add("/shop/\\evil.example")
	f.Add("/shop/..//evil.example")
	f.Fuzz(func(t *testing.T, path string) {
		for to, host := range map[string]string{"/": "here.example", "https://new.example/a": "new.example"} {
			got := location(t, `{"to": "`+to+`", "prefix": "/shop", "statusCode": 308}`, path, "")
			base, _ := url.Parse("https://here.example/")
			reference, err := url.Parse(strings.ReplaceAll(got, "\\", "/")) // as browsers do
			if err != nil {
				return
			}
			if resolved := base.ResolveReference(reference); resolved.Host != host {
				t.Errorf("%q is redirected to %s by %q", path, resolved.Host, got)
			}
		}
	})
}
