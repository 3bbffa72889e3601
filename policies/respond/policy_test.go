package respond_test

import (
	"reflect"
	"strings"
	"testing"

	"gatewright.dev/policies/respond"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = respond.GetPolicy

func TestItAnswersWithItsParameters(t *testing.T) {
	policy, err := respond.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(
		`{"statusCode": 503, "contentType": "text/html", "body": "<p>Back at 5</p>", "headers": [{"name": "retry-after", "value": "60"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{})
	want := &v1alpha.ImmediateResponse{StatusCode: 503, Body: []byte("<p>Back at 5</p>"), Headers: []v1alpha.Header{
		{Name: "content-type", Value: "text/html"}, {Name: "retry-after", Value: "60"},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWithoutABodyThereIsNoContentType(t *testing.T) {
	policy, err := respond.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"statusCode": 204, "contentType": "text/plain", "body": ""}`))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := policy.OnRequest(t.Context(), &v1alpha.RequestContext{})
	if !reflect.DeepEqual(got, &v1alpha.ImmediateResponse{StatusCode: 204, Body: []byte{}}) {
		t.Errorf("got %+v", got)
	}
}

func TestABodyThatTheStatusForbids(t *testing.T) {
	for _, status := range []string{"204", "304"} {
		_, err := respond.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"statusCode": `+status+`, "body": "x"}`))
		if err == nil || !strings.Contains(err.Error(), "expected none with status "+status) {
			t.Errorf("%s: got %v", status, err)
		}
	}
}
