package celauthz_test

import (
	"errors"
	"strings"
	"testing"

	celauthz "gatewright.dev/policies/cel-authz"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = celauthz.GetPolicy

// header is a condition for tests without an engine: it is true if the request has `yes` in the
// header of its text, and an error if the value is `?`. The engine's own conditions are in example.yaml.
type header string

func (h header) Applies(req *v1alpha.RequestContext) (bool, error) {
	value := req.Headers.Get(string(h))
	if value == "?" {
		return false, errors.New("type conversion error")
	}
	return value == "yes", nil
}

type byHeader struct{}

func (byHeader) Compile(text string) (v1alpha.Condition, error) {
	if strings.ContainsAny(text, " (") {
		return nil, errors.New("expected a header, got " + text)
	}
	return header(text), nil
}

func instance(t *testing.T, params string) v1alpha.Policy {
	t.Helper()
	policy, err := celauthz.GetPolicy(v1alpha.Metadata{Conditions: byHeader{}}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

const both = `{"deny": [{"when": "d0", "name": "no robots"}, {"when": "d1"}], "allow": [{"when": "a0"}, {"when": "a1"}], "statusCode": 403}`

func TestAdmittedRequests(t *testing.T) {
	for _, test := range []struct {
		params, headers string
		want            string // the rule that refuses, "": it passes, or a part of the error
	}{
		{both, "a0=yes", ""},
		{both, "a1=yes", ""},
		{both, "", "allow"},
		{both, "a0=no", "allow"},
		{both, "a0=yes d0=yes", "no robots"},
		{both, "a0=yes d1=yes", "deny[1]"},
		{both, "d0=yes d1=yes", "no robots"},
		{both, "a0=? a1=yes", ""},
		{both, "a0=yes a1=?", ""},
		{both, "a0=?", "error: allow[0].when: type conversion error"},
		{both, "a1=?", "error: allow[1].when: type conversion error"},
		{both, "a0=yes d1=?", "error: deny[1].when: type conversion error"},
		{both, "a0=yes d0=? d1=yes", "deny[1]"},
		{both, "d0=? a0=?", "error: deny[0].when: type conversion error"},
		{`{"deny": [{"when": "d0"}], "statusCode": 404}`, "", ""},
		{`{"deny": [{"when": "d0"}], "statusCode": 404}`, "d0=yes", "deny[0]"},
		{`{"allow": [{"when": "a0"}], "statusCode": 401}`, "a1=yes", "allow"},
	} {
		request := &v1alpha.RequestContext{}
		for _, pair := range strings.Fields(test.headers) {
			name, value, _ := strings.Cut(pair, "=")
			request.Headers = append(request.Headers, v1alpha.Header{Name: name, Value: value})
		}
		action, err := instance(t, test.params).OnRequest(t.Context(), request)
		got := ""
		if answer, ok := action.(*v1alpha.ImmediateResponse); ok {
			got = answer.AnalyticsMetadata["cel_authz"].(string)
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != test.want {
			t.Errorf("%s, asked with %s: expected %q, got %q", test.params, test.headers, test.want, got)
		}
	}
}

func TestARefusalDoesNotRevealItsRule(t *testing.T) {
	request := &v1alpha.RequestContext{Headers: v1alpha.Headers{{Name: "d0", Value: "yes"}}}
	for params, want := range map[string]string{
		both: `{"type":"about:blank","title":"Forbidden","status":403}`,
		`{"deny": [{"when": "d0"}], "statusCode": 401}`: `{"type":"about:blank","title":"Unauthorized","status":401}`,
	} {
		action, err := instance(t, params).OnRequest(t.Context(), request)
		answer, ok := action.(*v1alpha.ImmediateResponse)
		if err != nil || !ok || string(answer.Body) != want {
			t.Fatalf("expected %s, got %v, %v", want, action, err)
		}
		if challenge := v1alpha.Headers(answer.Headers).Get("www-authenticate"); (challenge != "") != (answer.StatusCode == 401) {
			t.Errorf("expected a challenge beside 401 alone (RFC 9110, 11.6.1), got %q", challenge)
		}
	}
}

func TestInvalidConditionsAreRefused(t *testing.T) {
	for params, want := range map[string]string{
		`{"deny": [{"when": "ok"}, {"when": "int(x)"}]}`:         "deny[1].when: expected a header",
		`{"deny": [{"when": "ok"}], "allow": [{"when": "a b"}]}`: "allow[0].when: expected a header",
	} {
		_, err := celauthz.GetPolicy(v1alpha.Metadata{Conditions: byHeader{}}, v1alpha.Params(params))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected an error with %q, got %v", params, want, err)
		}
	}
	_, err := celauthz.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"deny": [{"when": "ok"}]}`))
	if err == nil || !strings.Contains(err.Error(), "expected an engine") {
		t.Errorf("expected an error without an engine, got %v", err)
	}
}
