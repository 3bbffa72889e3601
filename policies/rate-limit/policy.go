// Package ratelimit is the policy rate-limit: it limits the rate of requests of a key, and answers further ones with 429.
//
// Each node decides at once by its own state, and reports to the store afterwards what it has admitted: see counters.go.
// A key contains only a hash of what the client has sent.
package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"gatewright.dev/sdk/policy/ratelimitheader"
	"gatewright.dev/sdk/policy/requestkey"
	"gatewright.dev/sdk/policy/v1alpha"
)

type parameters struct {
	Limits          []limitParameters `json:"limits"`
	Key             []requestkey.Part `json:"key"`
	Scope           string            `json:"scope"`
	WhenUnavailable string            `json:"whenUnavailable"`
	Headers         bool              `json:"headers"`
	MaxKeys         int               `json:"maxKeys"`
	Plan            bool              `json:"plan"`
}

type limitParameters struct {
	Requests int64  `json:"requests"`
	Per      string `json:"per"`
	Burst    int64  `json:"burst"`
	Name     string `json:"name"`
}

// limit is a limit of the attachment.
type limit struct {
	v1alpha.Limit
	name string
}

// The values of whenUnavailable.
const (
	allow  = "allow"
	refuse = "refuse"
)

type policy struct {
	key             requestkey.Key
	limiter         *limiter // nil: requests without a plan are not limited
	planKey         requestkey.Key
	plans           *plans // nil: plans do not count
	calls           *calls
	newCounters     func([]limit) *counters
	whenUnavailable string
	hasHeaders      bool // responses report the limits
	refused         *v1alpha.Counter
}

const longestPeriod = 31 * 24 * time.Hour

var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed parameters
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	limits, err := limitsOf(parsed.Limits)
	if err != nil {
		return nil, err
	}
	refused, err := metadata.Metrics.Counter("rate_limited_total", "Requests that a rate limit has refused.", "api")
	if err != nil {
		return nil, err
	}
	p := &policy{key: requestkey.New(metadata.Operation, parsed.Key), planKey: requestkey.New(metadata.Operation, []requestkey.Part{{From: "consumer"}}),
		whenUnavailable: parsed.WhenUnavailable, hasHeaders: parsed.Headers, refused: refused, calls: newCalls()}
	var store v1alpha.Store
	if parsed.Scope == "global" {
		store = metadata.Store
	}
	p.newCounters = func(limits []limit) *counters {
		return newCounters(limits, store, cmp.Or(parsed.MaxKeys, defaultKeys), time.Now, p.calls)
	}
	if len(limits) > 0 {
		p.limiter = p.newLimiter(limits)
	}
	if parsed.Plan && metadata.Consumers != nil {
		p.plans = &plans{known: metadata.Consumers, make: p.newLimiter, limiters: map[string]planLimiter{}}
	}
	return p, nil
}

func limitsOf(specs []limitParameters) ([]limit, error) {
	var limits []limit
	names := map[string]bool{}
	for i, spec := range specs {
		per, err := duration(spec.Per)
		if err != nil {
			return nil, fmt.Errorf("limits[%d].per: %w", i, err)
		}
		l := limit{v1alpha.Limit{Rate: spec.Requests, Per: per, Burst: spec.Burst}, spec.Name}
		if l.Burst == 0 {
			l.Burst = l.Rate
		}
		if l.name == "" {
			l.name = strconv.Itoa(i + 1)
		}
		if names[l.name] {
			return nil, fmt.Errorf("limits[%d].name: expected each name once, got %q twice", i, l.name)
		}
		names[l.name] = true
		if err := withDebt(l.Limit).Check(1); err != nil {
			return nil, fmt.Errorf("limits[%d]: %w", i, err)
		}
		limits = append(limits, l)
	}
	return limits, nil
}

func duration(text string) (time.Duration, error) {
	count, err := strconv.ParseInt(text[:max(len(text)-1, 0)], 10, 64)
	unit := time.Duration(0)
	if text != "" {
		unit = units[text[len(text)-1]]
	}
	if err != nil || unit == 0 || count < 1 || count > int64(longestPeriod/unit) {
		return 0, fmt.Errorf("expected a whole number of s, m, h or d, at most 31d, got %q", text)
	}
	return time.Duration(count) * unit, nil
}

// OnRequest admits or refuses the request.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	key := p.planKey
	limiter, err := p.plans.limiterOf(req)
	if limiter == nil {
		key, limiter = p.key, p.limiter
	}
	if err != nil || limiter == nil {
		return nil, err
	}
	hash, err := key.Of(req)
	if err != nil {
		return nil, err
	}
	if p.whenUnavailable != "local" && limiter.counters.isUnavailable() { //nolint:contextcheck // the store is called in the background
		if p.whenUnavailable == refuse {
			return ratelimitheader.Unavailable(), nil
		}
		return nil, nil
	}
	decision := limiter.counters.decide(hash) //nolint:contextcheck // as above
	decision.limiter = limiter
	if !decision.allowed {
		p.refused.Inc(req.APIName)
		return limiter.refusal(&decision), nil
	}
	if p.hasHeaders {
		req.Metadata.Lease(p, func() v1alpha.Lease { return &decision })
	}
	return nil, nil
}

// OnResponse reports the state of the limits.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if !p.hasHeaders {
		return nil, nil
	}
	d, ok := res.Metadata.Lease(p, func() v1alpha.Lease { return uncounted{} }).(*decision)
	if !ok {
		return nil, nil // the request was not counted
	}
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Append: d.limiter.headers(d)}}, nil
}

// Close ends the calls of the store.
func (p *policy) Close() error {
	p.calls.close()
	return nil
}

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}

// uncounted is the lease of an exchange that was not counted.
type uncounted struct{}

func (uncounted) Release() {}

// ---------------------------------------------------------------- headers of responses

func (l *limiter) refusal(d *decision) *v1alpha.ImmediateResponse {
	var violated []string
	for i, limit := range l.counters.limits {
		if !d.answers[i].Allowed {
			violated = append(violated, limit.name)
		}
	}
	var headers []v1alpha.Header
	if l.policyHeader != "" {
		headers = l.headers(d)
	}
	return ratelimitheader.Exceeded(violated, d.retryAfter, headers)
}

func policyHeader(limits []limit) string {
	var text []byte
	for _, limit := range limits {
		text = ratelimitheader.AppendPolicy(text, limit.name, limit.Rate, limit.Per)
	}
	return string(text)
}

func (l *limiter) headers(d *decision) []v1alpha.Header {
	text := make([]byte, 0, 64)
	for i, limit := range l.counters.limits {
		text = ratelimitheader.AppendStanding(text, limit.name, d.answers[i].Remaining, d.answers[i].ResetAfter)
	}
	return ratelimitheader.Headers(l.policyHeader, string(text))
}
