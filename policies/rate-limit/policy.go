// Package ratelimit is the policy rate-limit: so many requests pass in a time, the others are answered with 429.
//
// Each node decides by what it knows, at once, and tells the store what it has let pass afterwards: see counters.go. What
// a client writes is part of a key only by its hash.
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
}

type limitParameters struct {
	Requests int64  `json:"requests"`
	Per      string `json:"per"`
	Burst    int64  `json:"burst"`
	Name     string `json:"name"`
}

// limit is one of the attachment's.
type limit struct {
	v1alpha.Limit
	name string
}

// What whenUnavailable says.
const (
	allow  = "allow"
	refuse = "refuse"
)

type policy struct {
	key             requestkey.Key
	counters        *counters
	whenUnavailable string
	policyHeader    string // "" where answers do not say how it stands
	refused         *v1alpha.Counter
}

const longest = 31 * 24 * time.Hour

var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given parameters
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	limits, err := limitsOf(given.Limits)
	if err != nil {
		return nil, err
	}
	refused, err := metadata.Metrics.Counter("rate_limited_total", "Requests that a rate limit has refused.", "api")
	if err != nil {
		return nil, err
	}
	p := &policy{key: requestkey.New(metadata.Operation, given.Key), whenUnavailable: given.WhenUnavailable, refused: refused}
	var store v1alpha.Store
	if given.Scope == "global" {
		store = metadata.Store
	}
	p.counters = newCounters(limits, store, cmp.Or(given.MaxKeys, defaultKeys), time.Now)
	if given.Headers {
		p.policyHeader = policyHeader(limits)
	}
	return p, nil
}

func limitsOf(given []limitParameters) ([]limit, error) {
	var all []limit
	names := map[string]bool{}
	for i, one := range given {
		per, err := duration(one.Per)
		if err != nil {
			return nil, fmt.Errorf("limits[%d].per: %w", i, err)
		}
		made := limit{v1alpha.Limit{Rate: one.Requests, Per: per, Burst: one.Burst}, one.Name}
		if made.Burst == 0 {
			made.Burst = made.Rate
		}
		if made.name == "" {
			made.name = strconv.Itoa(i + 1)
		}
		if names[made.name] {
			return nil, fmt.Errorf("limits[%d].name: expected names that differ, got %q twice", i, made.name)
		}
		names[made.name] = true
		if err := withDebt(made.Limit).Check(1); err != nil {
			return nil, fmt.Errorf("limits[%d]: %w", i, err)
		}
		all = append(all, made)
	}
	return all, nil
}

func duration(text string) (time.Duration, error) {
	count, err := strconv.ParseInt(text[:max(len(text)-1, 0)], 10, 64)
	unit := time.Duration(0)
	if text != "" {
		unit = units[text[len(text)-1]]
	}
	if err != nil || unit == 0 || count < 1 || count > int64(longest/unit) {
		return 0, fmt.Errorf("expected a whole number of s, m, h or d, at most 31d, got %q", text)
	}
	return time.Duration(count) * unit, nil
}

// OnRequest lets the request pass, or answers it.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	hash, err := p.key.Of(req)
	if err != nil {
		return nil, err
	}
	if p.whenUnavailable != "local" && p.counters.isAway() { //nolint:contextcheck // the store is asked beside requests
		if p.whenUnavailable == refuse {
			return ratelimitheader.Unavailable(), nil
		}
		return nil, nil
	}
	decision := p.counters.take(hash) //nolint:contextcheck // as above
	if !decision.allowed {
		p.refused.Inc(req.APIName)
		return p.refusal(&decision), nil
	}
	if p.policyHeader != "" {
		req.Metadata.Lease(p, func() v1alpha.Lease { return &decision })
	}
	return nil, nil
}

// OnResponse says how it stands.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if p.policyHeader == "" {
		return nil, nil
	}
	held, ok := res.Metadata.Lease(p, func() v1alpha.Lease { return nothing{} }).(*decision)
	if !ok {
		return nil, nil // nothing was counted
	}
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Append: p.headers(held)}}, nil
}

// Close ends what is under way to the store.
func (p *policy) Close() error {
	p.counters.close()
	return nil
}

// NeverBlocks says that the policy waits for nothing.
func (*policy) NeverBlocks() {}

// nothing is what an exchange holds that was not counted.
type nothing struct{}

func (nothing) Release() {}

// ---------------------------------------------------------------- what clients are told

func (p *policy) refusal(d *decision) *v1alpha.ImmediateResponse {
	var violated []string
	for i, limit := range p.counters.limits {
		if !d.answers[i].Allowed {
			violated = append(violated, limit.name)
		}
	}
	var headers []v1alpha.Header
	if p.policyHeader != "" {
		headers = p.headers(d)
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

func (p *policy) headers(d *decision) []v1alpha.Header {
	text := make([]byte, 0, 64)
	for i, limit := range p.counters.limits {
		text = ratelimitheader.AppendStanding(text, limit.name, d.answers[i].Remaining, d.answers[i].ResetAfter)
	}
	return ratelimitheader.Headers(p.policyHeader, string(text))
}
