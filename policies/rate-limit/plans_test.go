package ratelimit_test

import (
	"sync"
	"testing"

	ratelimit "gatewright.dev/policies/rate-limit"
	"gatewright.dev/sdk/policy/v1alpha"
)

// known are plans by name.
type known struct {
	v1alpha.Consumers
	mutex sync.Mutex
	plans map[string]*v1alpha.Plan
}

func (k *known) Plan(name string) *v1alpha.Plan {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.plans[name]
}

func (k *known) set(name, limits string) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.plans[name] = &v1alpha.Plan{Name: name, Limits: []byte(limits)}
}

func plansOf(t *testing.T, params string) (*known, v1alpha.Policy) {
	t.Helper()
	k := &known{plans: map[string]*v1alpha.Plan{}}
	k.set("two", `[{"requests":2,"per":"1h"}]`)
	k.set("three", `[{"requests":3,"per":"1h"}]`)
	k.set("open", "")
	policy, err := ratelimit.GetPolicy(v1alpha.Metadata{Consumers: k}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = policy.Close() })
	return k, policy
}

// passed returns how many of five requests of a consumer pass.
func passed(t *testing.T, policy v1alpha.Policy, consumer *v1alpha.Consumer) (count int) {
	t.Helper()
	for range 5 {
		refused := answer(t, policy, func(req *v1alpha.RequestContext) {
			if consumer != nil {
				if err := req.Metadata.Set(v1alpha.IdentityKey, consumer.Identity("api-key")); err != nil {
					t.Fatal(err)
				}
			}
		})
		if refused == nil {
			count++
		}
	}
	return count
}

func TestAConsumerHasTheLimitsOfItsPlan(t *testing.T) {
	for _, c := range []struct {
		params string
		other  int // requests that pass without a plan, and with one that has no limits
	}{
		{`{"plan":true}`, 5},
		{`{"plan":true,"limits":[{"requests":1,"per":"1h"}]}`, 1},
	} {
		_, policy := plansOf(t, c.params)
		for _, want := range []struct {
			consumer *v1alpha.Consumer
			count    int
		}{
			{&v1alpha.Consumer{Name: "a", Plan: "two"}, 2}, {&v1alpha.Consumer{Name: "b", Plan: "two"}, 2},
			{&v1alpha.Consumer{Name: "c", Plan: "three"}, 3}, {&v1alpha.Consumer{Name: "a", Plan: "two"}, 0}, {nil, c.other},
		} {
			if got := passed(t, policy, want.consumer); got != want.count {
				t.Errorf("%s: expected %d requests of %+v to pass, got %d", c.params, want.count, want.consumer, got)
			}
		}
		for _, plan := range []string{"open", "gone", ""} {
			_, policy := plansOf(t, c.params)
			if got := passed(t, policy, &v1alpha.Consumer{Name: "x", Plan: plan}); got != c.other {
				t.Errorf("%s: expected %d requests with the plan %q to pass, got %d", c.params, c.other, plan, got)
			}
		}
	}
}

func TestPlansCountOnlyWhereTheyAreAskedFor(t *testing.T) {
	_, policy := plansOf(t, `{"limits":[{"requests":4,"per":"1h"}]}`)
	if got := passed(t, policy, &v1alpha.Consumer{Name: "a", Plan: "two"}); got != 4 {
		t.Errorf("expected the limits of the attachment, got %d requests", got)
	}
}

func TestAPlanThatChangesCountsWithTheNextRequest(t *testing.T) {
	k, policy := plansOf(t, `{"plan":true}`)
	a := &v1alpha.Consumer{Name: "a", Plan: "two"}
	if got := passed(t, policy, a); got != 2 {
		t.Fatalf("expected 2 requests to pass, got %d", got)
	}
	k.set("two", `[{"requests":4,"per":"1h"}]`)
	if got := passed(t, policy, a); got != 4 {
		t.Errorf("expected 4 requests to pass after the change, got %d", got)
	}
}

func TestAPlanMayChangeWhileRequestsCome(t *testing.T) {
	k, policy := plansOf(t, `{"plan":true,"scope":"global"}`)
	var requests sync.WaitGroup
	for range 4 {
		requests.Go(func() {
			for range 50 {
				passed(t, policy, &v1alpha.Consumer{Name: "a", Plan: "two"})
			}
		})
	}
	for range 50 {
		k.set("two", `[{"requests":4,"per":"1s"}]`)
	}
	requests.Wait()
}

func TestAPlanThatCannotBeReadIsAnError(t *testing.T) {
	k, policy := plansOf(t, `{"plan":true}`)
	k.set("two", `[{"requests":1,"per":"99d"}]`)
	req := request(nil)
	if err := req.Metadata.Set(v1alpha.IdentityKey, (&v1alpha.Consumer{Name: "a", Plan: "two"}).Identity("api-key")); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.OnRequest(t.Context(), req); err == nil {
		t.Error("expected an error, since nothing limits the request")
	}
}
