package quota_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatewright.dev/policies/quota"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = quota.GetPolicy

// counting counts as the engine's store does; takes is the duration of a call.
type counting struct {
	v1alpha.Store
	takes time.Duration
	fails error

	mu   sync.Mutex
	sums map[string]int64
	ends map[string]time.Time
}

func (s *counting) Increment(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, v1alpha.Failf(v1alpha.ClassUnavailable, "no answer in time")
	case <-time.After(s.takes):
	}
	if s.fails != nil {
		return 0, s.fails
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.sums, s.ends = map[string]int64{}, map[string]time.Time{}
	}
	if end, found := s.ends[key]; !found || !time.Now().Before(end) {
		s.sums[key], s.ends[key] = 0, time.Now().Add(ttl)
	}
	s.sums[key] += by
	return s.sums[key], nil
}

func newPolicy(t testing.TB, params string, store v1alpha.Store) v1alpha.Policy {
	t.Helper()
	policy, err := quota.GetPolicy(v1alpha.Metadata{Store: store, Timeout: time.Second}, v1alpha.Params(params))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = policy.Close() })
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

func passes(t testing.TB, policy v1alpha.Policy, key string) bool {
	t.Helper()
	return answer(t, policy, request(key)) == nil
}

// headersOf returns the headers of an answer by name.
func headersOf(t testing.TB, policy v1alpha.Policy, req *v1alpha.RequestContext) map[string]string {
	t.Helper()
	action, err := policy.OnResponse(t.Context(), &v1alpha.ResponseContext{Request: req, Metadata: req.Metadata})
	if err != nil {
		t.Fatal(err)
	}
	changes, _ := action.(*v1alpha.UpstreamResponseModifications)
	if changes == nil {
		return nil
	}
	return byName(changes.Headers.Append)
}

func byName(headers []v1alpha.Header) map[string]string {
	all := map[string]string{}
	for _, header := range headers {
		all[header.Name] = header.Value
	}
	return all
}

const keyed = `"key": [{"from": "header", "name": "X-Key"}], "headers": true`

// TestADayEndsAtMidnight: the clock of a synctest bubble begins on Saturday, 2000-01-01, 00:00 UTC.
func TestADayEndsAtMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, `{"requests": 2, "period": "day", "name": "daily", `+keyed+`}`, &counting{})
		time.Sleep(23 * time.Hour)
		for _, key := range []string{"a", "a", "b"} {
			if !passes(t, policy, key) {
				t.Fatalf("expected two of each key to pass, %s was refused", key)
			}
		}
		refused := answer(t, policy, request("a"))
		if refused == nil || refused.StatusCode != http.StatusTooManyRequests {
			t.Fatalf("expected 429, got %+v", refused)
		}
		headers := byName(refused.Headers)
		if headers["retry-after"] != "3600" || headers["ratelimit"] != `"daily";r=0;t=3600` || headers["ratelimit-policy"] != `"daily";q=2;w=86400` {
			t.Errorf("expected an hour until midnight, got %v", headers)
		}
		if !strings.Contains(string(refused.Body), `"violated-policies":["daily"]`) {
			t.Errorf("expected the quota's name, got %s", refused.Body)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		if passes(t, policy, "a") {
			t.Error("expected none a nanosecond before midnight")
		}
		time.Sleep(time.Nanosecond)
		for i := range 3 {
			if passed := passes(t, policy, "a"); passed != (i < 2) {
				t.Errorf("expected two more from midnight on, got %t for request %d", passed, i)
			}
		}
	})
}

func TestThePeriodFollowsTheTimeZone(t *testing.T) {
	for _, test := range []struct{ period, zone, retry string }{
		{"day", "UTC", "86400"},
		{"day", "Asia/Tokyo", "54000"}, // 09:00 there
		{"week", "UTC", "172800"},      // Saturday
		{"month", "UTC", "2678400"},
		{"month", "America/New_York", "18000"}, // 19:00 on December 31
	} {
		synctest.Test(t, func(t *testing.T) {
			params := fmt.Sprintf(`{"requests": 1, "period": %q, "timeZone": %q, %s}`, test.period, test.zone, keyed)
			policy := newPolicy(t, params, &counting{})
			passes(t, policy, "a")
			refused := answer(t, policy, request("a"))
			if refused == nil || byName(refused.Headers)["retry-after"] != test.retry {
				t.Errorf("%s in %s: expected to be refused for %s s, got %+v", test.period, test.zone, test.retry, refused)
			}
		})
	}
}

func TestRefusedRequestsAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{}
		params := `{"requests": %d, "period": "month", ` + keyed + `}`
		small := newPolicy(t, fmt.Sprintf(params, 2), store)
		for i := range 20 {
			if passed := passes(t, small, "a"); passed != (i < 2) {
				t.Fatalf("request %d: expected two to pass, got %t", i, passed)
			}
		}
		large := newPolicy(t, fmt.Sprintf(params, 5), store) // the API has been changed
		for i := range 10 {
			if passed := passes(t, large, "a"); passed != (i < 3) {
				t.Errorf("request %d: expected three more of a larger quota, got %t", i, passed)
			}
		}
	})
}

func TestOtherNamesAndPeriodsHaveSeparateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{}
		for _, params := range []string{
			`{"requests": 1, "period": "day", ` + keyed + `}`,
			`{"requests": 1, "period": "week", ` + keyed + `}`,
			`{"requests": 1, "period": "month", ` + keyed + `}`,
			`{"requests": 1, "period": "day", "name": "other", ` + keyed + `}`,
			`{"requests": 1, "period": "day", "timeZone": "Asia/Tokyo", ` + keyed + `}`,
			`{"requests": 1, "period": "day", "key": [{"from": "constant", "value": "a"}]}`,
		} {
			policy := newPolicy(t, params, store)
			if !passes(t, policy, "a") || passes(t, policy, "a") {
				t.Errorf("%s: expected a count of its own", params)
			}
		}
	})
}

func TestAnswersWarn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := newPolicy(t, `{"requests": 10, "period": "day", "warnAt": 75, `+keyed+`}`, &counting{})
		silent := newPolicy(t, `{"requests": 10, "period": "day", "warnAt": 75, "key": [], "headers": false}`, &counting{})
		for used := 1; used <= 10; used++ {
			want := ""
			if used >= 8 { // 75 % of 10 are 7.5
				want = fmt.Sprintf(`"quota";used=%d`, used*10)
			}
			for _, p := range []v1alpha.Policy{policy, silent} {
				req := request("a")
				if refused := answer(t, p, req); refused != nil {
					t.Fatalf("expected %d to pass, got %+v", used, refused)
				}
				headers := headersOf(t, p, req)
				if headers["x-quota-warning"] != want {
					t.Errorf("expected the warning %q, got %v", want, headers)
				}
				if want := p == policy; strings.HasPrefix(headers["ratelimit"], fmt.Sprintf(`"quota";r=%d;t=`, 10-used)) != want {
					t.Errorf("expected RateLimit to be %t, got %v", want, headers)
				}
			}
		}
		uncounted := request("a")
		if headers := headersOf(t, policy, uncounted); headers != nil {
			t.Errorf("expected no headers for a request that was not counted, got %v", headers)
		}
	})
}

// TestWhileTheStoreIsAway: an error, a full store, and no answer, which costs half of the attachment's timeout.
func TestWhileTheStoreIsAway(t *testing.T) {
	for name, store := range map[string]*counting{
		"away": {fails: v1alpha.Failf(v1alpha.ClassUnavailable, "away")},
		"full": {fails: fmt.Errorf("%w: %w", v1alpha.ErrStoreFull, v1alpha.Failf(v1alpha.ClassUnavailable, "full"))},
		"slow": {takes: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				params := `{"requests": 1, "period": "day", "whenUnavailable": %q, ` + keyed + `}`
				refused := answer(t, newPolicy(t, fmt.Sprintf(params, "refuse"), store), request("a"))
				if refused == nil || refused.StatusCode != http.StatusServiceUnavailable || byName(refused.Headers)["retry-after"] != "1" {
					t.Errorf("expected 503 with Retry-After, got %+v", refused)
				}
				allows, began := newPolicy(t, fmt.Sprintf(params, "allow"), store), time.Now()
				req := request("a")
				if refused := answer(t, allows, req); refused != nil || headersOf(t, allows, req) != nil {
					t.Errorf("expected it to pass without headers, got %+v", refused)
				}
				if took := time.Since(began); took > 500*time.Millisecond {
					t.Errorf("expected at most half of the timeout, got %s", took)
				}
			})
		})
	}
}

func TestACancelledRequestIsNotAnswered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	policy := newPolicy(t, `{"requests": 1, "period": "day", "whenUnavailable": "allow", `+keyed+`}`, &counting{takes: time.Hour})
	if action, err := policy.OnRequest(ctx, request("a")); err == nil {
		t.Errorf("expected an error, got %v", action)
	}
	bad := newPolicy(t, `{"requests": 1, "period": "day", "whenUnavailable": "allow", `+keyed+`}`, &counting{fails: v1alpha.ErrStoreInput})
	if action, err := bad.OnRequest(t.Context(), request("a")); !errors.Is(err, v1alpha.ErrStoreInput) {
		t.Errorf("expected the policy's own mistake to be an error, got %v, %v", action, err)
	}
	noAddress := newPolicy(t, `{"requests": 1, "period": "day", "key": [{"from": "client"}]}`, &counting{})
	if action, err := noAddress.OnRequest(t.Context(), &v1alpha.RequestContext{ClientAddress: "unix"}); err == nil {
		t.Errorf("expected an error, got %v", action)
	}
}

// TestManyAtOnceAreCountedOnce: at several nodes, while other requests are refused and uncounted.
func TestManyAtOnceAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{takes: time.Microsecond}
		var nodes []v1alpha.Policy
		for range 3 {
			nodes = append(nodes, newPolicy(t, `{"requests": 100, "period": "month", `+keyed+`}`, store))
		}
		var passed atomic.Int64
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				for j := range 20 {
					if req := request(strconv.Itoa(j % 2)); answer(t, nodes[i%3], req) == nil {
						passed.Add(1)
						headersOf(t, nodes[i%3], req)
					}
				}
			})
		}
		all.Wait()
		if got := passed.Load(); got != 200 {
			t.Errorf("expected 100 of each of two keys to pass, got %d together", got)
		}
	})
}

func TestInvalidQuotasAreRefused(t *testing.T) {
	for params, want := range map[string]string{
		`{"requests": 1, "period": "year"}`:                            `period: expected day, week or month, got "year"`,
		`{"requests": 1, "period": "day", "timeZone": "Mars/Olympus"}`: `timeZone: expected a name of the IANA`,
		`{"requests": 1, "period": "day", "timeZone": "Local"}`:        `timeZone: expected a name of the IANA`,
		`{"requests": 1, "period": "day", "timeZone": "../passwd"}`:    `timeZone: expected a name of the IANA`,
		`{"requests": 1, "period": "day", "cost": 2}`:                  `unknown field "cost"`,
	} {
		if _, err := quota.GetPolicy(v1alpha.Metadata{Store: &counting{}}, v1alpha.Params(params)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected an error with %q, got %v", params, want, err)
		}
	}
	if _, err := quota.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{"requests": 1, "period": "day"}`)); err == nil {
		t.Error("expected an error without a store")
	}
}

func BenchmarkQuota(b *testing.B) {
	policy := newPolicy(b, `{"requests": 1000000000, "period": "month", `+keyed+`}`, &counting{})
	for b.Loop() {
		req := request("a")
		_, _ = policy.OnRequest(b.Context(), req)
		_, _ = policy.OnResponse(b.Context(), &v1alpha.ResponseContext{Request: req, Metadata: req.Metadata})
	}
}
