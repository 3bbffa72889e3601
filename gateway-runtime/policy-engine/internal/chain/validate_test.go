package chain

import (
	"math"
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

func TestRequestModificationsThatAreRefused(t *testing.T) {
	set := func(name, value string) v1alpha.UpstreamRequestModifications {
		return v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: name, Value: value}}}}
	}
	appended := func(name, value string) v1alpha.UpstreamRequestModifications {
		return v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: name, Value: value}}}}
	}
	path := func(p string) v1alpha.UpstreamRequestModifications {
		return v1alpha.UpstreamRequestModifications{Path: &p}
	}
	query := func(q string) v1alpha.UpstreamRequestModifications {
		return v1alpha.UpstreamRequestModifications{Query: &q}
	}
	method := func(m string) v1alpha.UpstreamRequestModifications {
		return v1alpha.UpstreamRequestModifications{Method: &m}
	}
	authority := func(a string) v1alpha.UpstreamRequestModifications {
		return v1alpha.UpstreamRequestModifications{Authority: &a}
	}
	for _, c := range []struct {
		modifications v1alpha.UpstreamRequestModifications
		want          string // part of the error; "" if it is allowed
	}{
		{set("X-A", "b"), ""},
		{set("X-A", "b\xff\xfe\tc"), ""},
		{set("X-A", "b\r\nc"), "tabs, got one with such"},
		{appended("X-A", "b\x1b"), "without control characters"},
		{set("", "b"), "token"},
		{set("X A", "b"), "token"},
		{set("X-Ä", "b"), "token"},
		{set(":path", "/x"), "token"},
		{appended("Connection", "close"), "one connection"},
		{set("Transfer-Encoding", "chunked"), "one connection"},
		{set("TE", "trailers"), "one connection"},
		{set("Content-Length", "3"), "computes"},
		{set("Host", "x"), "use authority"},
		{set("X-Envoy-Retry-On", "5xx"), "steers the proxy"},
		{set("X-Gatewright-Request", "1"), "the gateway's own"},
		{v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Remove: []string{"x-gatewright-request"}}}, "the gateway's own"},
		{v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Remove: []string{"Host"}}}, "use authority"},
		{v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Remove: []string{"x-ok"}}}, ""},
		{path("/orders"), ""},
		{path("/orders/1/%20"), ""},
		{path("/ordersX"), "under the API's context"},
		{path("/other"), "under the API's context"},
		{path("orders/1"), "under the API's context"},
		{path(""), "under the API's context"},
		{path("/orders/../admin"), "dot segments"},
		{path("/orders/%2E%2e/admin"), "dot segments"},
		{path("/orders/..%2fadmin"), "dot segments"},
		{path(`/orders/..\admin`), "percent-encode"},
		{path("/orders/..;x=1/admin"), "dot segments"},
		{path("/orders/.."), "dot segments"},
		{path("/orders/..a"), ""},
		{path("/orders/1?x=2"), "use query"},
		{path("/orders/1 HTTP/1.1"), "no space"},
		{query("a=1&b=%20"), ""},
		{query("a=1\r\nX: y"), "no space"},
		{query("a#b"), "#"},
		{method("PATCH"), ""},
		{method("P UT"), "token"},
		{method(""), "token"},
		{method("connect"), "CONNECT"},
		{authority("a.example:80"), ""},
		{authority("[::1]:80"), ""},
		{authority(""), "host"},
		{authority("a b"), "host"},
		{authority("user@a"), "host"},
		{v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"a": []any{1, nil, "b"}}}, ""},
		{v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"a": math.NaN()}}, "JSON"},
	} {
		expect(t, c.modifications, checkRequest(&c.modifications, "/orders", []string{"main", "canary"}), c.want)
	}
}

func TestUpstreamsThatAreRefused(t *testing.T) {
	const known = `upstream: expected one of the API's (main, canary), got `
	for name, want := range map[string]string{"canary": "", "main": "", "other": known + `"other"`, "Canary": known, "": known} {
		m := v1alpha.UpstreamRequestModifications{Upstream: &name}
		expect(t, m, checkRequest(&m, "/orders", []string{"main", "canary"}), want)
	}
}

func TestResponseActionsThatAreRefused(t *testing.T) {
	for status, want := range map[int]string{0: "", 200: "", 599: "", 100: "200–599", 600: "200–599", -1: "200–599"} {
		m := v1alpha.UpstreamResponseModifications{StatusCode: status}
		expect(t, m, checkResponse(&m), want)
	}
	for status, want := range map[int]string{0: "200–599", 199: "200–599", 200: "", 599: ""} {
		r := v1alpha.ImmediateResponse{StatusCode: status}
		expect(t, r, checkImmediate(&r), want)
	}
	r := v1alpha.ImmediateResponse{StatusCode: 200, Headers: []v1alpha.Header{{Name: "X-A", Value: "\n"}}}
	expect(t, r, checkImmediate(&r), "without control")
	m := v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Remove: []string{"X-Envoy-Upstream-Service-Time"}}}
	expect(t, m, checkResponse(&m), "")
}

func TestEveryPathIsUnderTheRoot(t *testing.T) {
	for _, context := range []string{"/", ""} {
		expect(t, context, checkPath("/", context), "")
		expect(t, context, checkPath("/a/b", context), "")
		expect(t, context, checkPath("*", context), "under the API's context")
	}
}

func expect(t *testing.T, what any, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%+v: %v", what, err)
		}
	} else if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%+v: expected an error with %q, got %v", what, want, err)
	}
}

func TestIsGRPC(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc;charset=utf-8": true,
		"application/grpc-web": false, "application/json": false, "": false,
	} {
		if got := isGRPC(v1alpha.Headers{{Name: "content-type", Value: contentType}}); got != want {
			t.Errorf("%s: got %v", contentType, got)
		}
	}
}
