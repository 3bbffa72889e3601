package mypolicy_test

import (
	"reflect"
	"testing"

	mypolicy "example.com/policies/my-policy"
	"gatewright.dev/sdk/policy/v1alpha"
)

func act(t *testing.T, headers ...v1alpha.Header) v1alpha.RequestAction {
	t.Helper()
	policy, err := mypolicy.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"header": "x-tenant"}`))
	if err != nil {
		t.Fatal(err)
	}
	action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{Headers: headers})
	if err != nil {
		t.Fatal(err)
	}
	return action
}

func TestTheUpstreamGetsTheTenant(t *testing.T) {
	want := &v1alpha.UpstreamRequestModifications{
		Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-seen-tenant", Value: "blue"}}},
	}
	if got := act(t, v1alpha.Header{Name: "x-tenant", Value: "blue"}); !reflect.DeepEqual(got, want) {
		t.Errorf("expected %v, got %v", want, got)
	}
}

func TestNoTenantAndTwoAreRefused(t *testing.T) {
	blue, green := v1alpha.Header{Name: "x-tenant", Value: "blue"}, v1alpha.Header{Name: "x-tenant", Value: "green"}
	for _, headers := range [][]v1alpha.Header{{}, {blue, green}} {
		answer, ok := act(t, headers...).(*v1alpha.ImmediateResponse)
		if !ok || answer.StatusCode != 400 {
			t.Errorf("%v: expected an answer with 400, got %v", headers, answer)
		}
	}
}
