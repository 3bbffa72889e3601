package cors_test

import (
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policies/cors"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = cors.GetPolicy

const app = `{"allowOrigins": ["https://app.example", "https://*.shop.example:8443"], "allowMethods": ["PUT", "DELETE"],
	"allowHeaders": ["Content-Type", "X-Tenant"], "exposeHeaders": ["X-Page"], "allowCredentials": true, "maxAgeSeconds": 60}`

func newPolicy(t *testing.T, params string) v1alpha.Policy {
	t.Helper()
	policy, err := cors.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// preflight returns the answer to a preflight request.
func preflight(t *testing.T, params string, headers ...string) *v1alpha.ImmediateResponse {
	t.Helper()
	action, err := newPolicy(t, params).OnRequest(t.Context(), request("OPTIONS", headers...))
	if err != nil {
		t.Fatal(err)
	}
	return action.(*v1alpha.ImmediateResponse)
}

func request(method string, headers ...string) *v1alpha.RequestContext {
	req := &v1alpha.RequestContext{Method: method}
	for pair := range slices.Chunk(headers, 2) {
		req.Headers = append(req.Headers, v1alpha.Header{Name: pair[0], Value: pair[1]})
	}
	return req
}

// set returns the headers of a response to a request with this origin: "name: value" lines, those of vary last.
func set(t *testing.T, params, origin string) string {
	t.Helper()
	req := request("GET")
	if origin != "" {
		req = request("GET", "origin", origin)
	}
	action, err := newPolicy(t, params).OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req})
	if err != nil {
		t.Fatal(err)
	}
	headers := action.(*v1alpha.UpstreamResponseModifications).Headers
	if !slices.Contains(headers.Remove, "access-control-allow-origin") || !slices.Contains(headers.Remove, "access-control-allow-credentials") {
		t.Errorf("expected upstream's own headers to be removed, got %v", headers.Remove)
	}
	return lines(append(slices.Clone(headers.Set), headers.Append...))
}

func lines(headers []v1alpha.Header) string {
	var lines []string
	for _, header := range headers {
		lines = append(lines, strings.TrimPrefix(header.Name, "access-control-")+": "+header.Value)
	}
	return strings.Join(lines, "\n")
}

func TestAnAllowedPreflight(t *testing.T) {
	answer := preflight(t, app, "origin", "https://app.example", "access-control-request-method", "PUT",
		"access-control-request-headers", "content-type, X-TENANT")
	want := "allow-credentials: true\nmax-age: 60\nallow-origin: https://app.example\nallow-methods: PUT\nallow-headers: content-type, x-tenant"
	if got := lines(answer.Headers); answer.StatusCode != 204 || got != want {
		t.Errorf("got %d %s", answer.StatusCode, got)
	}
}

func TestPreflightsThatAreRefused(t *testing.T) {
	for _, headers := range [][]string{
		{"origin", "https://evil.example", "access-control-request-method", "GET"},
		{"origin", "null", "access-control-request-method", "GET"},
		{"origin", "https://app.example.evil.example", "access-control-request-method", "GET"},
		{"origin", "http://app.example", "access-control-request-method", "GET"},
		{"origin", "https://app.example", "access-control-request-method", "PATCH"},
		{"origin", "https://app.example", "access-control-request-method", "put"},
		{"origin", "https://app.example", "access-control-request-method", "PUT", "access-control-request-headers", "x-other"},
		{"origin", "https://app.example", "access-control-request-method", "PUT", "access-control-request-headers", "x-tenant", "access-control-request-headers", "x-other"},
	} {
		answer := preflight(t, app, headers...)
		if answer.StatusCode != 403 || strings.Contains(lines(answer.Headers), "allow-") {
			t.Errorf("%v: got %d %s", headers, answer.StatusCode, lines(answer.Headers))
		}
		if strings.Contains(string(answer.Body), "evil") {
			t.Errorf("expected no text of the client, got %s", answer.Body)
		}
	}
}

func TestOtherRequestsPass(t *testing.T) {
	for _, req := range []*v1alpha.RequestContext{
		request("GET", "origin", "https://evil.example"),
		request("OPTIONS", "origin", "https://app.example"),
		request("OPTIONS", "access-control-request-method", "GET"),
		request("POST", "origin", "https://app.example", "access-control-request-method", "GET"),
	} {
		if action, err := newPolicy(t, app).OnRequest(t.Context(), req); action != nil || err != nil {
			t.Errorf("%+v: got %v, %v", req, action, err)
		}
	}
}

func TestResponses(t *testing.T) {
	all := "allow-origin: %\nallow-credentials: true\nexpose-headers: X-Page\nvary: Origin"
	for origin, want := range map[string]string{
		"https://app.example":                        all,
		"https://eu.shop.example:8443":               all,
		"https://a.b.shop.example:8443":              all,
		"https://shop.example:8443":                  "vary: Origin",
		"https://.shop.example:8443":                 "vary: Origin",
		"https://evil.example/.shop.example:8443":    "vary: Origin",
		"https://evil.example#.shop.example:8443":    "vary: Origin",
		"https://evil.example:1@a.shop.example:8443": "vary: Origin",
		"https://a..shop.example:8443":               "vary: Origin",
		"https://eu.shop.example":                    "vary: Origin",
		"https://app.example\r\nx: y":                "vary: Origin",
		"null":                                       "vary: Origin",
		"":                                           "vary: Origin",
	} {
		if got := set(t, app, origin); got != strings.ReplaceAll(want, "%", origin) {
			t.Errorf("%q: got %s", origin, got)
		}
	}
}

func TestAWildcardOrigin(t *testing.T) {
	anyOrigin := `{"allowOrigins": ["*"], "allowHeaders": ["*"], "maxAgeSeconds": 5, "allowPrivateNetwork": true}`
	for _, origin := range []string{"", "null", "https://a.example"} {
		if got := set(t, anyOrigin, origin); got != "allow-origin: *" {
			t.Errorf("%q: got %s", origin, got)
		}
	}
	answer := preflight(t, anyOrigin, "origin", "null", "access-control-request-method", "POST",
		"access-control-request-headers", "authorization,x-a", "access-control-request-private-network", "true")
	want := "max-age: 5\nallow-origin: *\nallow-methods: POST\nallow-headers: authorization, x-a\nallow-private-network: true"
	if got := lines(answer.Headers); answer.StatusCode != 204 || got != want {
		t.Errorf("got %d %s", answer.StatusCode, got)
	}
	if answer = preflight(t, anyOrigin, "origin", "null", "access-control-request-method", "POST",
		"access-control-request-headers", "a b"); answer.StatusCode != 403 {
		t.Errorf("an invalid header name: got %d %s", answer.StatusCode, lines(answer.Headers))
	}
}

func TestTheOriginNullIsAllowedIfItIsNamed(t *testing.T) {
	if got := set(t, `{"allowOrigins": ["null"]}`, "null"); got != "allow-origin: null\nvary: Origin" {
		t.Errorf("got %s", got)
	}
}

func TestTheAnswerToAPreflightVaries(t *testing.T) {
	req := request("OPTIONS", "origin", "https://app.example", "access-control-request-method", "GET")
	action, err := newPolicy(t, app).OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req})
	if err != nil {
		t.Fatal(err)
	}
	headers := action.(*v1alpha.UpstreamResponseModifications).Headers
	if len(headers.Remove)+len(headers.Set) > 0 || !strings.HasPrefix(lines(headers.Append), "vary: Origin, ") {
		t.Errorf("got %+v", headers)
	}
}

func TestAnEchoedOrigin(t *testing.T) {
	params := `{"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"], "allowCredentials": true, "echoOrigin": true}`
	for origin, want := range map[string]string{
		"https://a.example:8443": "allow-origin: https://a.example:8443\nallow-credentials: true\nvary: Origin",
		"null":                   "allow-origin: null\nallow-credentials: true\nvary: Origin",
		"https://a.example, b":   "vary: Origin",
		"a.example":              "vary: Origin",
		"":                       "vary: Origin",
	} {
		if got := set(t, params, origin); got != want {
			t.Errorf("%q: got %s", origin, got)
		}
	}
	answer := preflight(t, params, "origin", "https://a.example", "access-control-request-method", "PURGE",
		"access-control-request-headers", "x-a,x-b")
	want := "allow-credentials: true\nmax-age: 0\nallow-origin: https://a.example\nallow-methods: PURGE\nallow-headers: x-a, x-b"
	if got := lines(answer.Headers); answer.StatusCode != 204 || got != want {
		t.Errorf("got %d %s", answer.StatusCode, got)
	}
	for _, headers := range [][]string{
		{"origin", "https://a.example\"", "access-control-request-method", "GET"},
		{"origin", "https://a.example", "access-control-request-method", "PUT, X"},
	} {
		if answer = preflight(t, params, headers...); answer.StatusCode != 403 {
			t.Errorf("%v: got %d %s", headers, answer.StatusCode, lines(answer.Headers))
		}
	}
}

func TestAnyHostOfAScheme(t *testing.T) {
	for origin, want := range map[string]string{
		"https://a.example":      "allow-origin: https://a.example\nvary: Origin",
		"https://localhost":      "allow-origin: https://localhost\nvary: Origin",
		"https://a.example:8443": "vary: Origin",
		"http://a.example":       "vary: Origin",
		"https://":               "vary: Origin",
	} {
		if got := set(t, `{"allowOrigins": ["https://*"]}`, origin); got != want {
			t.Errorf("%q: got %s", origin, got)
		}
	}
}

func TestAPreflightThatListsAll(t *testing.T) {
	params := strings.Replace(app, "{", `{"preflightLists": "all", `, 1)
	answer := preflight(t, params, "origin", "https://app.example", "access-control-request-method", "GET")
	want := "allow-credentials: true\nmax-age: 60\nexpose-headers: X-Page\nallow-origin: https://app.example\n" +
		"allow-methods: PUT, DELETE\nallow-headers: Content-Type, X-Tenant"
	if got := lines(answer.Headers); answer.StatusCode != 204 || got != want {
		t.Errorf("got %d %s", answer.StatusCode, got)
	}
	params = `{"preflightLists": "all", "allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"]}`
	answer = preflight(t, params, "origin", "https://a.example", "access-control-request-method", "PUT", "access-control-request-headers", "x-a")
	if got := lines(answer.Headers); got != "max-age: 0\nallow-origin: *\nallow-methods: PUT\nallow-headers: x-a" {
		t.Errorf("got %s", got)
	}
}
