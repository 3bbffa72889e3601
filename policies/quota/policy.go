// Package quota is the policy quota: it admits a number of requests of a key per day, week or month of the calendar, and
// answers further ones with 429.
//
// The store counts, and each request waits for it, so the count is exact over all nodes that share it. A count's key contains
// the beginning of the period, so that a new period begins at 0, and expires a day after its period.
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
	Plan            bool              `json:"plan"`
}

type policy struct {
	calendar calendar
	name     string
	limit    int64 // of requests without a plan; 0: they pass
	key      requestkey.Key
	planKey  requestkey.Key
	plans    *plans // nil: plans do not count
	store    v1alpha.Store
	patience time.Duration // timeout of a call of the store
	passes   bool          // requests that cannot be counted pass
	warnAt   int64         // percent; 0: never
	headers  bool
	refused  *v1alpha.Counter
	current  atomic.Pointer[span]
}

// clockSlack is the time for which a count is kept after its period, since nodes' clocks may differ.
const clockSlack = 24 * time.Hour

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	parsed := parameters{TimeZone: "UTC", Name: "quota"}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	if metadata.Store == nil {
		return nil, errors.New("expected a store that counts, got none")
	}
	calendar, err := newCalendar(parsed.Period, parsed.TimeZone)
	if err != nil {
		return nil, err
	}
	refused, err := metadata.Metrics.Counter("quota_exceeded_total", "Requests that a quota has refused.", "api")
	if err != nil {
		return nil, err
	}
	return &policy{
		calendar: calendar, name: parsed.Name, limit: parsed.Requests, store: metadata.Store, refused: refused,
		key:      requestkey.New(metadata.Operation, parsed.Key, parsed.Name, parsed.Period),
		patience: metadata.Timeout / 2, // half of the attachment's timeout, which leaves time for the policy's own answer
		planKey:  requestkey.New(metadata.Operation, []requestkey.Part{{From: "consumer"}}, parsed.Name, parsed.Period),
		plans:    newPlans(parsed.Plan, metadata.Consumers, parsed.Period),
		passes:   parsed.WhenUnavailable == "allow", warnAt: parsed.WarnAt, headers: parsed.Headers,
	}, nil
}

// OnRequest counts the request, and admits or refuses it.
func (p *policy) OnRequest(ctx context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	key := p.planKey
	limit, err := p.plans.limitOf(req)
	if limit == 0 {
		key, limit = p.key, p.limit
	}
	if err != nil || limit == 0 {
		return nil, err
	}
	hash, err := key.Of(req)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	span := p.span(now)
	used, err := p.count(ctx, hash.String()+span.suffix, limit, span.to.Sub(now)+clockSlack)
	if err != nil {
		return p.answerUncounted(ctx, err)
	}
	state := &standing{span, limit, min(used, limit), span.to.Sub(now)}
	if used > limit {
		p.refused.Inc(req.APIName)
		return ratelimitheader.Exceeded([]string{p.name}, state.reset, p.standingHeaders(state)), nil
	}
	if p.headers || p.reachesWarning(state) {
		req.Metadata.Lease(p, func() v1alpha.Lease { return state })
	}
	return nil, nil
}

// answerUncounted handles a request that the store has not counted.
func (p *policy) answerUncounted(ctx context.Context, err error) (v1alpha.RequestAction, error) {
	switch {
	case ctx.Err() != nil || errors.Is(err, v1alpha.ErrStoreInput): // the client has left, or the call is invalid
		return nil, err
	case p.passes:
		return nil, nil
	default:
		return ratelimitheader.Unavailable(), nil
	}
}

// count counts a request, and returns the new count. A request beyond the quota is subtracted again, so that an increase of the
// quota is available in full; if the subtraction fails, the request counts only against a larger quota.
func (p *policy) count(ctx context.Context, key string, limit int64, ttl time.Duration) (int64, error) {
	if p.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	used, err := p.store.Increment(ctx, key, 1, ttl)
	if err == nil && used > limit {
		_, _ = p.store.Increment(ctx, key, -1, ttl)
	}
	return used, err
}

// OnResponse reports the state of the quota.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if !p.headers && p.warnAt == 0 {
		return nil, nil
	}
	state, ok := res.Metadata.Lease(p, func() v1alpha.Lease { return uncounted{} }).(*standing)
	if !ok {
		return nil, nil // not counted, or nothing to report
	}
	headers := p.standingHeaders(state)
	if p.reachesWarning(state) {
		headers = append(headers, v1alpha.Header{Name: "x-quota-warning", Value: p.warning(state)})
	}
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Append: headers}}, nil
}

// Close does nothing: the store belongs to the engine.
func (*policy) Close() error { return nil }

// KeepsDeadlines marks a policy that waits only for the store, which observes ctx.
func (*policy) KeepsDeadlines() {}

// ---------------------------------------------------------------- headers of responses

// standing is the state of the quota after a request; an exchange keeps it for its response.
type standing struct {
	span  *span
	limit int64
	used  int64
	reset time.Duration
}

// Release does nothing.
func (*standing) Release() {}

// uncounted is the lease of an exchange that was not counted.
type uncounted struct{}

func (uncounted) Release() {}

func (p *policy) standingHeaders(s *standing) []v1alpha.Header {
	if !p.headers {
		return nil
	}
	text := ratelimitheader.AppendStanding(nil, p.name, s.limit-s.used, s.reset)
	return ratelimitheader.Headers(p.policyHeader(s), string(text))
}

func (p *policy) policyHeader(s *standing) string {
	if s.limit == p.limit {
		return s.span.policyHeader
	}
	return string(ratelimitheader.AppendPolicy(nil, p.name, s.limit, s.span.to.Sub(s.span.from)))
}

func (p *policy) reachesWarning(s *standing) bool {
	return p.warnAt > 0 && s.used*100 >= p.warnAt*s.limit
}

// warning returns an item of a structured field (RFC 9651), like those of RateLimit: the percentage used, rounded down.
func (p *policy) warning(s *standing) string {
	return `"` + p.name + `";used=` + strconv.FormatInt(s.used*100/s.limit, 10)
}
