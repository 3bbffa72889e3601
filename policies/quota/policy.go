// Package quota is the policy quota: so many requests of a key pass in a day, week or month of the calendar, the others are
// answered with 429.
//
// The store counts, and each request waits for it: what it says is exact over all nodes that share it. A count's name has
// the period's begin, so that a new period begins at 0, and the entry ends by itself a day after its period.
package quota

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/ratelimitheader"
	"gatewright.dev/sdk/policy/requestkey"
	"gatewright.dev/sdk/policy/v1alpha"
)

type parameters struct {
	Requests        int64             `json:"requests"`
	Period          string            `json:"period"`
	TimeZone        string            `json:"timeZone"`
	Name            string            `json:"name"`
	Key             []requestkey.Part `json:"key"`
	WhenUnavailable string            `json:"whenUnavailable"`
	WarnAt          int64             `json:"warnAt"`
	Headers         bool              `json:"headers"`
}

type policy struct {
	calendar calendar
	name     string
	limit    int64
	key      requestkey.Key
	store    v1alpha.Store
	patience time.Duration // of a call of the store
	passes   bool          // what cannot be counted
	warnAt   int64         // percent; 0: never
	headers  bool
	refused  *v1alpha.Counter
	known    atomic.Pointer[span]
}

// slack is how much longer than its period a count is kept: nodes' clocks may differ.
const slack = 24 * time.Hour

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	given := parameters{TimeZone: "UTC", Name: "quota"}
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	if metadata.Store == nil {
		return nil, errors.New("expected a store that counts, got none")
	}
	calendar, err := newCalendar(given.Period, given.TimeZone)
	if err != nil {
		return nil, err
	}
	refused, err := metadata.Metrics.Counter("quota_exceeded_total", "Requests that a quota has refused.", "api")
	if err != nil {
		return nil, err
	}
	return &policy{
		calendar: calendar, name: given.Name, limit: given.Requests, store: metadata.Store, refused: refused,
		key:      requestkey.New(metadata.Operation, given.Key, given.Name, given.Period),
		patience: metadata.Timeout / 2, // of the attachment's: so that there is time for an answer of its own
		passes:   given.WhenUnavailable == "allow", warnAt: given.WarnAt, headers: given.Headers,
	}, nil
}

// OnRequest counts the request, and lets it pass or answers it.
func (p *policy) OnRequest(ctx context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	hash, err := p.key.Of(req)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	span := p.span(now)
	used, err := p.count(ctx, hash.String()+span.suffix, span.to.Sub(now)+slack)
	if err != nil {
		return p.uncounted(ctx, err)
	}
	stands := &standing{span, min(used, p.limit), span.to.Sub(now)}
	if used > p.limit {
		p.refused.Inc(req.APIName)
		return ratelimitheader.Exceeded([]string{p.name}, stands.reset, p.told(stands)), nil
	}
	if p.headers || p.warns(stands) {
		req.Metadata.Lease(p, func() v1alpha.Lease { return stands })
	}
	return nil, nil
}

// uncounted is what becomes of a request that the store has not counted.
func (p *policy) uncounted(ctx context.Context, err error) (v1alpha.RequestAction, error) {
	switch {
	case ctx.Err() != nil || errors.Is(err, v1alpha.ErrStoreInput): // nobody waits; or it is not the store's fault
		return nil, err
	case p.passes:
		return nil, nil
	default:
		return ratelimitheader.Unavailable(), nil
	}
}

// count is how many requests there are with this one. One that is beyond the quota is taken out again, so that whoever is
// given a larger quota has all that is new of it; one that cannot be taken out is in nobody's way before that.
func (p *policy) count(ctx context.Context, key string, ttl time.Duration) (int64, error) {
	if p.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	used, err := p.store.Increment(ctx, key, 1, ttl)
	if err == nil && used > p.limit {
		_, _ = p.store.Increment(ctx, key, -1, ttl)
	}
	return used, err
}

// OnResponse says how it stands.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if !p.headers && p.warnAt == 0 {
		return nil, nil
	}
	stands, ok := res.Metadata.Lease(p, func() v1alpha.Lease { return nothing{} }).(*standing)
	if !ok {
		return nil, nil // it was not counted, or there is nothing to be told
	}
	headers := p.told(stands)
	if p.warns(stands) {
		headers = append(headers, v1alpha.Header{Name: "x-quota-warning", Value: p.warning(stands)})
	}
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Append: headers}}, nil
}

// Close has nothing to give back: the store is the engine's.
func (*policy) Close() error { return nil }

// KeepsDeadlines says that the policy waits for nothing but the store, which heeds ctx.
func (*policy) KeepsDeadlines() {}

// ---------------------------------------------------------------- what clients are told

// standing is how the quota stands with a request; an exchange holds it for its response.
type standing struct {
	span  *span
	used  int64
	reset time.Duration
}

// Release does nothing.
func (*standing) Release() {}

// nothing is what an exchange holds that was not counted.
type nothing struct{}

func (nothing) Release() {}

func (p *policy) told(s *standing) []v1alpha.Header {
	if !p.headers {
		return nil
	}
	text := ratelimitheader.AppendStanding(nil, p.name, p.limit-s.used, s.reset)
	return ratelimitheader.Headers(s.span.policyHeader, string(text))
}

func (p *policy) warns(s *standing) bool { return p.warnAt > 0 && s.used*100 >= p.warnAt*p.limit }

// warning is an item of a structured field (RFC 9651), as those of RateLimit: the whole percent that are used.
func (p *policy) warning(s *standing) string {
	return `"` + p.name + `";used=` + strconv.FormatInt(s.used*100/p.limit, 10)
}
