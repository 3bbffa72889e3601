package quota_test

import (
	"testing"
	"time"

	"gatewright.dev/policies/quota"
	"gatewright.dev/sdk/policy/v1alpha"
)

// known are plans by name.
type known struct {
	v1alpha.Consumers
	plans map[string]*v1alpha.Plan
}

func (k known) Plan(name string) *v1alpha.Plan { return k.plans[name] }

func (k known) set(name, quotas string) {
	k.plans[name] = &v1alpha.Plan{Name: name, Quotas: []byte(quotas)}
}

func withPlans(t *testing.T, params string) (known, v1alpha.Policy) {
	t.Helper()
	k := known{plans: map[string]*v1alpha.Plan{}}
	k.set("two", `[{"requests":2,"period":"day"},{"requests":9,"period":"month"}]`)
	policy, err := quota.GetPolicy(v1alpha.Metadata{Store: &counting{}, Timeout: time.Second, Consumers: k}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	return k, policy
}

// passed returns how many of five requests of a consumer pass; plan "-": of a client without an identity.
func passed(t *testing.T, policy v1alpha.Policy, name, plan string) (count int) {
	t.Helper()
	for range 5 {
		req := request("")
		if plan != "-" {
			if err := req.Metadata.Set(v1alpha.IdentityKey, (&v1alpha.Consumer{Name: name, Plan: plan}).Identity("api-key")); err != nil {
				t.Fatal(err)
			}
		}
		if answer(t, policy, req) == nil {
			count++
		}
	}
	return count
}

func TestAConsumerHasTheQuotaOfItsPlan(t *testing.T) {
	for _, c := range []struct {
		params       string
		plan, others int
	}{
		{`{"plan":true,"period":"day"}`, 2, 5},
		{`{"plan":true,"period":"week"}`, 5, 5},
		{`{"plan":true,"period":"week","requests":1}`, 1, 1},
		{`{"plan":true,"period":"day","requests":1}`, 2, 1},
		{`{"period":"day","requests":3}`, 3, 3},
	} {
		for plan, want := range map[string]int{"two": c.plan, "gone": c.others, "": c.others, "-": c.others} {
			_, policy := withPlans(t, c.params)
			if got := passed(t, policy, "a", plan); got != want {
				t.Errorf("%s: expected %d requests with the plan %q to pass, got %d", c.params, want, plan, got)
			}
		}
	}
}

func TestConsumersOfAPlanAreCountedApartAndAChangeKeepsTheCount(t *testing.T) {
	k, policy := withPlans(t, `{"plan":true,"period":"day"}`)
	for _, name := range []string{"a", "b"} {
		if got := passed(t, policy, name, "two"); got != 2 {
			t.Errorf("expected 2 requests of %s to pass, got %d", name, got)
		}
	}
	k.set("two", `[{"requests":3,"period":"day"}]`)
	if got := passed(t, policy, "a", "two"); got != 1 {
		t.Errorf("expected one more request to pass, got %d", got)
	}
}
