package chain_test

import (
	"slices"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// says is a policy that identifies the caller.
func (t *transcript) says(name, method string) *does {
	return &does{name: name, request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return nil, r.Metadata.Set("identity", map[string]any{"subject": name, "method": method})
	}}
}

// TestAnIdentityIsReportedOnce, and again if another policy finds another one.
func TestAnIdentityIsReportedOnce(t *testing.T) {
	x := get()
	if err := x.run(t, x.policy(x.says("ann", "jwt"), "hH")); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.observer.identified, []string{"jwt"}) {
		t.Errorf("expected it to be counted once, got %q", x.observer.identified)
	}
	if got := x.identities; !slices.Equal(got, []string{"ann"}) {
		t.Errorf("expected it to be sent once, got %q", got)
	}
	x = get()
	_ = x.run(t, x.onRequest("passes", "hH", nil, nil))
	if x.observer.identified != nil || x.identities != nil {
		t.Errorf("expected nothing without one, got %q, %q", x.observer.identified, x.identities)
	}
	x = get()
	_ = x.run(t, x.policy(x.says("ann", "jwt"), "h"), x.onRequest("denies", "h", refusal(), nil))
	if got := x.identities; !slices.Equal(got, []string{"ann"}) || len(x.observer.identified) != 1 {
		t.Errorf("expected it with an answer too, got %q", got)
	}
}

// TestAPlanIsReportedOnce, also if a policy behind the one that identifies the client finds the consumer.
func TestAPlanIsReportedOnce(t *testing.T) {
	x := get()
	hasPlan := &does{name: "consumer", request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return nil, r.Metadata.Set("identity", map[string]any{"subject": "ann", "method": "jwt", "consumer": "acme", "plan": "gold"})
	}}
	if err := x.run(t, x.policy(x.says("ann", "jwt"), "hH"), x.policy(hasPlan, "hH")); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.observer.planned, []string{"gold"}) || !slices.Equal(x.observer.identified, []string{"jwt"}) {
		t.Errorf("expected each to be counted once, got %q, %q", x.observer.planned, x.observer.identified)
	}
	x = get()
	_ = x.run(t, x.policy(x.says("bob", "api-key"), "h"))
	if x.observer.planned != nil {
		t.Errorf("expected nothing without a plan, got %q", x.observer.planned)
	}
}

// TestAConsumerIsSent with the identity, and once more if a response phase finds that it is none.
func TestAConsumerIsSent(t *testing.T) {
	x := get()
	set := func(metadata *v1alpha.ExchangeMetadata, consumer, plan string) error {
		return metadata.Set("identity", map[string]any{"subject": "ann", "method": "jwt", "consumer": consumer, "plan": plan})
	}
	finds := &does{name: "finds",
		request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return nil, set(r.Metadata, "acme", "gold")
		},
		response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, set(r.Metadata, "", "") }}
	if err := x.run(t, x.policy(x.says("ann", "jwt"), "h"), x.policy(finds, "hH")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"ann as acme with gold", "ann as  with "}; !slices.Equal(x.identities, want) {
		t.Errorf("expected %q, got %q", want, x.identities)
	}
}

func TestAnExchangeWithoutIdentityAllocatesNothingForIt(t *testing.T) {
	if got := chain.AllocationsWithoutIdentity(); got != 0 {
		t.Errorf("expected none, got %g", got)
	}
}
