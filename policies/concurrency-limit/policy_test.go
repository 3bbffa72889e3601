package concurrencylimit_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	concurrencylimit "gatewright.dev/policies/concurrency-limit"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = concurrencylimit.GetPolicy

func newPolicy(t testing.TB, params string) v1alpha.Policy {
	t.Helper()
	policy, err := concurrencylimit.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func request(key string) *v1alpha.RequestContext {
	return &v1alpha.RequestContext{
		ClientAddress: "192.0.2.1:4711", Headers: v1alpha.Headers{{Name: "x-key", Value: key}}, Metadata: &v1alpha.ExchangeMetadata{},
	}
}

func answer(t testing.TB, policy v1alpha.Policy, req *v1alpha.RequestContext) *v1alpha.ImmediateResponse {
	t.Helper()
	action, err := policy.OnRequest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	refused, _ := action.(*v1alpha.ImmediateResponse)
	return refused
}

const keyed = `{"max": %d, "key": [{"from": "header", "name": "X-Key"}]}`

func TestTheExchangesOfAKeyAreLimited(t *testing.T) {
	policy := newPolicy(t, fmt.Sprintf(keyed, 2))
	first, second := request("a"), request("a")
	if answer(t, policy, first) != nil || answer(t, policy, second) != nil {
		t.Fatal("expected two to pass")
	}
	for range 5 { // a refused one acquires no place, and releases none
		third := request("a")
		if answer(t, policy, third) == nil {
			t.Fatal("expected a third one to be refused")
		}
		third.Metadata.End()
	}
	if answer(t, policy, request("b")) != nil {
		t.Error("expected another key to have its own")
	}
	first.Metadata.End() // there was no response
	first.Metadata.End()
	if answer(t, policy, request("a")) != nil || answer(t, policy, request("a")) == nil {
		t.Error("expected one place, however often it is released")
	}
}

func TestAResponseReleasesThePlaceExactlyOnce(t *testing.T) {
	policy := newPolicy(t, fmt.Sprintf(keyed, 1))
	respond := func(req *v1alpha.RequestContext) {
		t.Helper()
		action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req, Metadata: req.Metadata})
		if action != nil || err != nil {
			t.Errorf("expected nothing, got %v, %v", action, err)
		}
	}
	first, second, refused := request("a"), request("a"), request("a")
	answer(t, policy, first)
	respond(first)
	if answer(t, policy, second) != nil {
		t.Fatal("expected the place to be free with the response")
	}
	first.Metadata.End()
	if answer(t, policy, refused) == nil {
		t.Error("expected the second one's place to be its own")
	}
	respond(refused)
	refused.Metadata.End()
	if answer(t, policy, request("a")) == nil {
		t.Error("expected a refused exchange to release no place")
	}
}

func TestTheRefusal(t *testing.T) {
	for params, want := range map[string]struct {
		status       int
		retry, title string
	}{
		`{"max": 1}`: {http.StatusServiceUnavailable, "1", "Service Unavailable"},
		`{"max": 1, "status": 429, "retryAfter": 30}`: {http.StatusTooManyRequests, "30", "Too Many Requests"},
	} {
		policy := newPolicy(t, params)
		answer(t, policy, request("a"))
		refused := answer(t, policy, request("b"))
		if refused == nil || refused.StatusCode != want.status || refused.Headers[1].Value != want.retry ||
			string(refused.Body) != fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d}`, want.title, want.status) {
			t.Errorf("%s: expected %+v, got %+v", params, want, refused)
		}
	}
}

// TestAnEndedExchangeAcquiresNoPlace: a late hook may run after the end.
func TestAnEndedExchangeAcquiresNoPlace(t *testing.T) {
	policy := newPolicy(t, fmt.Sprintf(keyed, 1))
	late := request("a")
	late.Metadata.End()
	if answer(t, policy, late) != nil || answer(t, policy, request("a")) != nil {
		t.Error("expected its place to be free again at once")
	}
}

// TestNeverMoreThanMaxUnderWay: many exchanges at once, of some keys; at the end all places are free.
func TestNeverMoreThanMaxUnderWay(t *testing.T) {
	const most, keys = 7, 5
	policy := newPolicy(t, fmt.Sprintf(keyed, most))
	var under [keys]atomic.Int64
	var passed atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 500 {
				key := (i + j) % keys
				req := request(fmt.Sprint(key))
				if answer(t, policy, req) == nil {
					if now := under[key].Add(1); now > most {
						t.Errorf("expected at most %d under way, got %d", most, now)
					}
					passed.Add(1)
					under[key].Add(-1)
				}
				if j%2 == 0 { // the others get no response
					_, _ = policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req, Metadata: req.Metadata})
				}
				req.Metadata.End()
			}
		})
	}
	all.Wait()
	if passed.Load() == 0 {
		t.Error("expected some to pass")
	}
	for key := range keys {
		for i := range most + 1 {
			if passes := answer(t, policy, request(fmt.Sprint(key))) == nil; passes != (i < most) {
				t.Errorf("key %d: expected all %d places to be free, got %t for request %d", key, most, passes, i)
			}
		}
	}
}

func TestInvalidLimitsAreRefused(t *testing.T) {
	if _, err := concurrencylimit.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"max": 1, "queue": 2}`)); err == nil || !strings.Contains(err.Error(), "queue") {
		t.Errorf("expected an error that names the parameter, got %v", err)
	}
	policy := newPolicy(t, `{"max": 1, "key": [{"from": "client"}]}`)
	if action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{ClientAddress: "unix"}); err == nil {
		t.Errorf("expected an error, got %v", action)
	}
}

func BenchmarkConcurrencyLimit(b *testing.B) {
	policy := newPolicy(b, `{"max": 10, "key": [{"from": "client"}]}`)
	for b.Loop() {
		req := request("a")
		_, _ = policy.OnRequest(b.Context(), req)
		req.Metadata.End()
	}
}
