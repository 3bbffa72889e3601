package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ratelimit "gatewright.dev/policies/rate-limit"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = ratelimit.GetPolicy

// remoteStore throttles as the store of several nodes does, after a while; in a bubble of synctest that is no real time.
type remoteStore struct {
	v1alpha.Store
	takes       time.Duration
	unavailable atomic.Bool
	calls       atomic.Int64

	mu   sync.Mutex
	tats map[string]float64
}

func (s *remoteStore) Throttle(ctx context.Context, key string, limit v1alpha.Limit, cost int64) (v1alpha.Throttled, error) {
	s.calls.Add(1)
	if err := limit.Check(cost); err != nil {
		return v1alpha.Throttled{}, err
	}
	if s.unavailable.Load() {
		return v1alpha.Throttled{}, v1alpha.Failf(v1alpha.ClassUnavailable, "unavailable")
	}
	select {
	case <-ctx.Done():
		return v1alpha.Throttled{}, ctx.Err()
	case <-time.After(s.takes):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tats == nil {
		s.tats = map[string]float64{}
	}
	next, answer := limit.Decide(s.tats[key], float64(time.Now().UnixMicro()), cost)
	s.tats[key] = next
	return answer, nil
}

func newPolicy(t testing.TB, params string, store v1alpha.Store) v1alpha.Policy {
	t.Helper()
	policy, err := ratelimit.GetPolicy(v1alpha.Metadata{Store: store}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func request(change func(*v1alpha.RequestContext)) *v1alpha.RequestContext {
	req := &v1alpha.RequestContext{ClientAddress: "192.0.2.1:4711", Path: "/a/b", Method: "GET", Metadata: &v1alpha.ExchangeMetadata{}}
	if change != nil {
		change(req)
	}
	return req
}

// answer returns the answer to a request; nil: it passes.
func answer(t testing.TB, policy v1alpha.Policy, change func(*v1alpha.RequestContext)) *v1alpha.ImmediateResponse {
	t.Helper()
	action, err := policy.OnRequest(t.Context(), request(change))
	if err != nil {
		t.Fatal(err)
	}
	refused, _ := action.(*v1alpha.ImmediateResponse)
	return refused
}

func passes(t testing.TB, policy v1alpha.Policy, change func(*v1alpha.RequestContext)) bool {
	t.Helper()
	return answer(t, policy, change) == nil
}

func value(headers []v1alpha.Header, name string) string {
	for _, header := range headers {
		if header.Name == name {
			return header.Value
		}
	}
	return ""
}

func TestABurstThenEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, `{"limits": [{"requests": 10, "per": "1s", "burst": 3}], "key": [{"from": "client"}]}`, nil)
		for i := range 3 {
			if !passes(t, policy, nil) {
				t.Fatalf("expected request %d to pass", i)
			}
		}
		refused := answer(t, policy, nil)
		if refused == nil || refused.StatusCode != http.StatusTooManyRequests || value(refused.Headers, "retry-after") != "1" {
			t.Fatalf("expected 429 with Retry-After 1, got %+v", refused)
		}
		time.Sleep(100 * time.Millisecond)
		if !passes(t, policy, nil) || passes(t, policy, nil) {
			t.Error("expected one more after 100 ms")
		}
		time.Sleep(time.Hour)
		for i := range 4 {
			if passed := passes(t, policy, nil); passed != (i < 3) {
				t.Errorf("expected the burst, and no more, after an hour: got %t for request %d", passed, i)
			}
		}
	})
}

func TestARefusalOfOneLimitDoesNotCountForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, `{"limits": [{"requests": 1, "per": "1s"}, {"requests": 3, "per": "1h", "name": "hour"}], "headers": true}`, nil)
		if !passes(t, policy, nil) {
			t.Fatal("expected the first to pass")
		}
		for range 10 {
			refused := answer(t, policy, nil)
			if refused == nil || value(refused.Headers, "ratelimit") != `"1";r=0;t=1, "hour";r=2;t=1200` {
				t.Fatalf("expected 2 left in the hour, got %+v", refused)
			}
			if got := string(refused.Body); !strings.Contains(got, `"violated-policies":["1"]`) {
				t.Fatalf("expected the exceeded limit, got %s", got)
			}
		}
		for range 2 {
			time.Sleep(time.Second)
			if !passes(t, policy, nil) {
				t.Fatal("expected one in each second to pass")
			}
		}
		time.Sleep(time.Second)
		refused := answer(t, policy, nil)
		if refused == nil || value(refused.Headers, "retry-after") != "1197" {
			t.Errorf("expected the hour to be full for 1197 s, got %+v", refused)
		}
	})
}

func TestAnswersReportTheStateOfLimits(t *testing.T) {
	policy := newPolicy(t, `{"limits": [{"requests": 5, "per": "1m", "name": "minute"}], "headers": true}`, nil)
	req := request(nil)
	if _, err := policy.OnRequest(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req, Metadata: req.Metadata})
	if err != nil {
		t.Fatal(err)
	}
	headers := action.(*v1alpha.UpstreamResponseModifications).Headers.Append
	if value(headers, "ratelimit-policy") != `"minute";q=5;w=60` || value(headers, "ratelimit") != `"minute";r=4;t=12` {
		t.Errorf("expected 4 left of 5 in 60 s, got %v", headers)
	}
	other := request(nil)
	if action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: other, Metadata: other.Metadata}); action != nil || err != nil {
		t.Errorf("expected no headers for a request that was not counted, got %v, %v", action, err)
	}
}

// TestDifferentValuesAreDifferentKeys: no text in one part of a key makes it equal to the key of another request.
func TestDifferentValuesAreDifferentKeys(t *testing.T) {
	two := `{"limits": [{"requests": 1, "per": "1h"}], "key": [{"from": "header", "name": "X-A"}, {"from": "header", "name": "X-B"}]}`
	with := func(headers ...v1alpha.Header) func(*v1alpha.RequestContext) {
		return func(req *v1alpha.RequestContext) { req.Headers = headers }
	}
	a := func(value string) v1alpha.Header { return v1alpha.Header{Name: "x-a", Value: value} }
	b := func(value string) v1alpha.Header { return v1alpha.Header{Name: "x-b", Value: value} }
	policy := newPolicy(t, two, nil)
	for _, headers := range [][]v1alpha.Header{
		nil, {a("")}, {b("")}, {a(""), b("")}, {a("1"), b("2")}, {a("12")}, {b("12")}, {a("1\x022")}, {a("\x021\x022")},
		{a(strings.Repeat("x", 60_000))}, {a(strings.Repeat("x", 60_001))},
	} {
		if !passes(t, policy, with(headers...)) || passes(t, policy, with(headers...)) {
			t.Errorf("expected %.40v to be counted apart from all others", headers)
		}
	}
	if !passes(t, policy, with(a("1"), a("2"), b("2"))) || passes(t, policy, with(a("new"), b("2"), a("1"))) {
		t.Error("expected all that have two values of a header to be counted together")
	}
}

func TestSeparateCounts(t *testing.T) {
	identity := func(subject string) func(*v1alpha.RequestContext) {
		return func(req *v1alpha.RequestContext) {
			_ = req.Metadata.Set("identity", map[string]any{"subject": subject, "issuer": "i"})
		}
	}
	at := func(address string) func(*v1alpha.RequestContext) {
		return func(req *v1alpha.RequestContext) { req.ClientAddress = address }
	}
	asks := func(query string) func(*v1alpha.RequestContext) {
		return func(req *v1alpha.RequestContext) { req.Query = query }
	}
	of := func(encoded string) func(*v1alpha.RequestContext) {
		return func(req *v1alpha.RequestContext) {
			req.Path = "/" + encoded // a client may write one path in many ways
			req.PathParams = v1alpha.PathParams{{Name: "other", Encoded: encoded + "x"}, {Name: "tenant", Encoded: encoded}}
		}
	}
	for name, test := range map[string]struct {
		key                string
		first, same, other func(*v1alpha.RequestContext)
	}{
		"client":        {`{"from": "client"}`, at("192.0.2.1:1"), at("[::ffff:192.0.2.1]:2"), at("192.0.2.2:1")},
		"IPv6 networks": {`{"from": "client"}`, at("[2001:db8::1]:1"), at("[2001:db8::ffff:2]:2"), at("[2001:db8:0:1::1]:1")},
		"identity":      {`{"from": "identity"}`, identity("a"), identity("a"), identity("b")},
		"no identity":   {`{"from": "identity"}`, nil, nil, identity("")},
		"query":         {`{"from": "query", "name": "k"}`, asks("x=1&k=a%20b"), asks("k=a+b"), asks("k=a%2020b")},
		"two of them":   {`{"from": "query", "name": "k"}`, asks("k=a&k=v"), asks("k=b&%6b=v"), asks("k=v")},
		"broken query":  {`{"from": "query", "name": "k"}`, asks("k=%zz"), asks("k=%zz&y"), asks("k=%zy")},
		"path":          {`{"from": "path"}`, nil, nil, func(req *v1alpha.RequestContext) { req.Path = "/a/c" }},
		"parameter":     {`{"from": "pathParameter", "name": "tenant"}`, of("a%2520b"), of("%61%2520b"), of("a%20b")},
		"method":        {`{"from": "method"}`, nil, nil, func(req *v1alpha.RequestContext) { req.Method = "POST" }},
		"operation":     {`{"from": "operation"}`, nil, nil, func(req *v1alpha.RequestContext) { req.Operation = "GET /{id}" }},
	} {
		policy := newPolicy(t, fmt.Sprintf(`{"limits": [{"requests": 1, "per": "1h"}], "key": [%s]}`, test.key), nil)
		if !passes(t, policy, test.first) || passes(t, policy, test.same) || !passes(t, policy, test.other) {
			t.Errorf("%s: expected the first to pass, the same to be refused and the other to pass", name)
		}
	}
	all := newPolicy(t, `{"limits": [{"requests": 1, "per": "1h"}], "key": [{"from": "constant", "value": "x"}]}`, nil)
	if !passes(t, all, at("192.0.2.1:1")) || passes(t, all, at("192.0.2.2:1")) {
		t.Error("expected a constant to count all together")
	}
}

func TestABadAddressIsAFailure(t *testing.T) {
	policy := newPolicy(t, `{"limits": [{"requests": 1, "per": "1h"}], "key": [{"from": "client"}]}`, nil)
	if action, err := policy.OnRequest(t.Context(), request(func(req *v1alpha.RequestContext) { req.ClientAddress = "unix" })); err == nil {
		t.Errorf("expected an error, got %v", action)
	}
}

func TestInvalidLimitsAreRefused(t *testing.T) {
	for params, want := range map[string]string{
		`{"limits": [{"requests": 1, "per": "32d"}]}`:                                                        "limits[0].per: expected",
		`{"limits": [{"requests": 1, "per": "9999999999999999999s"}]}`:                                       "limits[0].per: expected",
		`{"limits": [{"requests": 1, "per": ""}]}`:                                                           "limits[0].per: expected",
		`{"limits": [{"requests": 9000000, "per": "1s"}]}`:                                                   "limits[0]: store: limit: expected at most",
		`{"limits": [{"requests": 1, "per": "31d", "burst": 1000}]}`:                                         "limits[0]: store: limit: expected a burst",
		`{"limits": [{"requests": 1, "per": "1s", "name": "a"}, {"requests": 1, "per": "1s", "name": "a"}]}`: "limits[1].name: expected each name once",
	} {
		if _, err := ratelimit.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected an error with %q, got %v", params, want, err)
		}
	}
}

func TestAFloodOfKeysFreesNoKeyThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, `{"limits": [{"requests": 1000, "per": "1s"}, {"requests": 3, "per": "1h"}], "key": [{"from": "header", "name": "x-user"}], "maxKeys": 8192}`, nil)
		user := func(name string) func(*v1alpha.RequestContext) {
			return func(req *v1alpha.RequestContext) { req.Headers = v1alpha.Headers{{Name: "x-user", Value: name}} }
		}
		victims := make([]string, 1000)
		for i := range victims {
			victims[i] = fmt.Sprint("victim", i)
			for range 3 {
				if !passes(t, policy, user(victims[i])) {
					t.Fatal("expected three requests to pass")
				}
			}
		}
		for i := range 100_000 {
			answer(t, policy, user(fmt.Sprint("other", i)))
		}
		for _, victim := range victims {
			if passes(t, policy, user(victim)) {
				t.Fatalf("expected %s to be refused still", victim)
			}
		}
		time.Sleep(20 * time.Minute)
		if !passes(t, policy, user(victims[0])) || passes(t, policy, user(victims[0])) {
			t.Error("expected one request to pass after a third of the hour")
		}
	})
}

func TestManyKeysTakeBoundedMemoryAndKeepTheLastOnes(t *testing.T) {
	policy := newPolicy(t, `{"limits": [{"requests": 1, "per": "1h"}], "key": [{"from": "path"}]}`, nil)
	at := func(i int) func(*v1alpha.RequestContext) {
		return func(req *v1alpha.RequestContext) { req.Path = fmt.Sprint("/", i) }
	}
	for i := range 160_000 {
		passes(t, policy, at(i))
	}
	if passes(t, policy, at(159_999)) || !passes(t, policy, at(0)) {
		t.Error("expected the last key to be known, and the first to be forgotten")
	}
}

const global = `{"limits": [{"requests": 300, "per": "1s", "burst": 30}], "key": [{"from": "client"}], "scope": "global", "whenUnavailable": %q}`

// admitted sends requests to all nodes at the rate per second, and returns how many pass.
func admitted(t *testing.T, nodes []v1alpha.Policy, rate int, lasts time.Duration) (passed int64) {
	t.Helper()
	var count atomic.Int64
	var all sync.WaitGroup
	for number, node := range nodes {
		all.Go(func() {
			time.Sleep(time.Duration(number) * time.Millisecond / 3)
			for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Second / time.Duration(rate)) {
				if passes(t, node, nil) {
					count.Add(1)
				}
			}
		})
	}
	all.Wait()
	return count.Load()
}

func nodesOf(t *testing.T, store v1alpha.Store, whenUnavailable string) (nodes []v1alpha.Policy) {
	t.Helper()
	for range 3 {
		nodes = append(nodes, newPolicy(t, fmt.Sprintf(global, whenUnavailable), store))
	}
	return nodes
}

func closeAll(t *testing.T, nodes []v1alpha.Policy) {
	t.Helper()
	for _, node := range nodes {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestThreeNodesKeepOneLimit: three times the limit is offered for 30 s, with fast and slow stores. In
// the long run the limit holds; requests that passed too early are compensated.
func TestThreeNodesKeepOneLimit(t *testing.T) {
	for _, takes := range []time.Duration{300 * time.Microsecond, 20 * time.Millisecond, 80 * time.Millisecond} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &remoteStore{takes: takes}
				nodes := nodesOf(t, store, "local")
				defer closeAll(t, nodes)
				passed := admitted(t, nodes, 300, 30*time.Second)
				want := 30 + 300*30.0
				if off := float64(passed)/want - 1; off > 0.02 || off < -0.02 {
					t.Errorf("expected %.0f within 2 %%, got %d: %.2f %%", want, passed, 100*off)
				}
				if calls := store.calls.Load(); calls > 3*30*200 {
					t.Errorf("expected at most one call in 5 ms of each node, got %d", calls)
				}
			})
		})
	}
}

// TestLimitsHaveSeparateCountsInTheStore: limits with the same number of requests, in a second and in an hour.
func TestLimitsHaveSeparateCountsInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, `{"limits": [{"requests": 100, "per": "1s"}, {"requests": 100, "per": "1h"}], "key": [{"from": "client"}], "scope": "global"}`, &remoteStore{})
		defer closeAll(t, []v1alpha.Policy{policy})
		for i := range 101 {
			if passed := passes(t, policy, nil); passed != (i < 100) {
				t.Fatalf("expected 100 in an hour to pass, as long as they come one in 10 ms: got %t for request %d", passed, i)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func TestWhileTheStoreIsAway(t *testing.T) {
	for mode, want := range map[string][2]float64{"local": {3 * 1500, 0.02}, "allow": {3 * 5 * 1000, 0.01}, "refuse": {0, 0}} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &remoteStore{takes: time.Millisecond}
				nodes := nodesOf(t, store, mode)
				defer closeAll(t, nodes)
				admitted(t, nodes, 1000, time.Second)
				store.unavailable.Store(true)
				admitted(t, nodes, 1000, time.Second) // until each node has noticed
				passed := float64(admitted(t, nodes, 1000, 5*time.Second))
				if passed < want[0]*(1-want[1]) || passed > want[0]*(1+want[1]) {
					t.Errorf("expected about %.0f to pass, got %.0f", want[0], passed)
				}
				store.unavailable.Store(false)
				admitted(t, nodes, 1000, 2*time.Second) // time to use the store again
				passed = float64(admitted(t, nodes, 1000, 5*time.Second))
				if passed < 1500*0.98 || passed > 1500*1.02 {
					t.Errorf("expected the limit of 1500 again, got %.0f", passed)
				}
			})
		})
	}
}

func TestWithoutAStoreTheAnswerIs503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &remoteStore{}
		store.unavailable.Store(true)
		policy := newPolicy(t, fmt.Sprintf(global, "refuse"), store)
		defer closeAll(t, []v1alpha.Policy{policy})
		passes(t, policy, nil) // the failure is not known yet
		synctest.Wait()
		if refused := answer(t, policy, nil); refused == nil || refused.StatusCode != http.StatusServiceUnavailable || value(refused.Headers, "retry-after") == "" {
			t.Errorf("expected 503 with Retry-After, got %+v", refused)
		}
	})
}

func TestNoRequestWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, fmt.Sprintf(global, "local"), &remoteStore{takes: time.Hour})
		defer closeAll(t, []v1alpha.Policy{policy})
		began := time.Now()
		for range 100 {
			passes(t, policy, nil)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("expected no time to pass, got %s", took)
		}
	})
}

func BenchmarkLocal(b *testing.B) {
	policy := newPolicy(b, `{"limits": [{"requests": 1000000, "per": "1s"}], "key": [{"from": "client"}], "headers": true}`, nil)
	for b.Loop() {
		req := request(nil)
		_, _ = policy.OnRequest(b.Context(), req)
		_, _ = policy.OnResponse(b.Context(), &v1alpha.ResponseContext{Request: req, Metadata: req.Metadata})
	}
}
