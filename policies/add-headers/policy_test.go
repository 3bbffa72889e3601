package addheaders_test

import (
	"reflect"
	"strings"
	"testing"

	addheaders "gatewright.dev/policies/add-headers"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = addheaders.GetPolicy

// actions returns the policy's actions on a request and on its response.
func actions(t *testing.T, params string) (*v1alpha.UpstreamRequestModifications, *v1alpha.UpstreamResponseModifications) {
	t.Helper()
	policy, err := addheaders.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := policy.(v1alpha.NeverBlocks); !ok || policy.Close() != nil {
		t.Error("expected a policy that never blocks")
	}
	request, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{})
	if err != nil {
		t.Fatal(err)
	}
	response, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{})
	if err != nil {
		t.Fatal(err)
	}
	return request.(*v1alpha.UpstreamRequestModifications), response.(*v1alpha.UpstreamResponseModifications)
}

func TestHeadersAreSetAndCookiesAdded(t *testing.T) {
	request, response := actions(t, `{
		"requestHeaders": [{"name": "X-Go-Policy", "value": "1"}, {"name": "X-Go-Policy", "value": "2"}],
		"responseHeaders": [{"name": "Set-Cookie", "value": "a=1"}, {"name": "X-Go-Policy", "value": ""}]}`)
	want := v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "X-Go-Policy", Value: "1"}, {Name: "X-Go-Policy", Value: "2"}}}
	if !reflect.DeepEqual(request, &v1alpha.UpstreamRequestModifications{Headers: want}) {
		t.Errorf("request: %+v", request)
	}
	want = v1alpha.HeaderModifications{
		Set: []v1alpha.Header{{Name: "X-Go-Policy"}}, Append: []v1alpha.Header{{Name: "Set-Cookie", Value: "a=1"}},
	}
	if !reflect.DeepEqual(response, &v1alpha.UpstreamResponseModifications{Headers: want}) {
		t.Errorf("response: %+v", response)
	}
}

func TestNothingByDefault(t *testing.T) {
	request, response := actions(t, "")
	if !reflect.DeepEqual(request, &v1alpha.UpstreamRequestModifications{}) || !reflect.DeepEqual(response, &v1alpha.UpstreamResponseModifications{}) {
		t.Errorf("got %+v and %+v", request, response)
	}
}

func TestUnknownParameterIsRefused(t *testing.T) {
	for _, params := range []string{`{"headers": []}`, `{"requestHeaders": [{"name": "a", "value": "b", "append": true}]}`} {
		if _, err := addheaders.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params)); err == nil || !strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%s: expected an error, got %v", params, err)
		}
	}
}
