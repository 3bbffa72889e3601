package chain_test

import (
	"reflect"
	"sync"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// TestAShadowSeesWhatAnAppliedPolicySees: each field of the request, in both phases.
func TestAShadowSeesWhatAnAppliedPolicySees(t *testing.T) {
	var lock sync.Mutex // a shadow runs beside the exchange
	seen := map[string]*v1alpha.RequestContext{}
	note := func(phase string, r *v1alpha.RequestContext) {
		lock.Lock()
		defer lock.Unlock()
		seen[phase] = r
	}
	looks := func(name string) does {
		return does{
			name: name,
			request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
				note(name+" request", r)
				return nil, nil
			},
			response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
				note(name+" response", r.Request)
				return nil, nil
			},
		}
	}
	applied := looks("applied")
	x := post("body").answers("answer")
	x.request.Path, x.request.Authority, x.request.Peer = "/orders/7%3aa/?a=1", "Example.org:80", &v1alpha.Peer{Subject: "CN=a"}
	if err := x.run(t, x.policy(&applied, "bH"), shadow("s:v1.0.0", looks("shadow"), "bH")); err != nil {
		t.Fatal(err)
	}
	x.expectShadows(t, `
		1 s:v1.0.0 request same
		1 s:v1.0.0 response same`)
	for _, phase := range []string{" request", " response"} {
		want, got := reflect.ValueOf(*seen["applied"+phase]), reflect.ValueOf(*seen["shadow"+phase])
		for n := range want.NumField() {
			if name := want.Type().Field(n).Name; name != "Metadata" && !reflect.DeepEqual(want.Field(n).Interface(), got.Field(n).Interface()) {
				t.Errorf("%s: %s: expected %v, got %v", phase, name, want.Field(n), got.Field(n))
			}
		}
	}
	if request := seen["applied request"]; request.PathParams.Get("id") != "7:a" || !request.HasBody || request.RawPath != "/orders/7%3aa/" {
		t.Errorf("got %+v", request)
	}
}
