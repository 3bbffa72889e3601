package ratelimit

import (
	"fmt"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// limiter applies limits, and counts for them.
type limiter struct {
	counters     *counters
	policyHeader string // "" if responses do not report the limits
}

// newLimiter makes a limiter for limits that are valid.
func (p *policy) newLimiter(limits []limit) *limiter {
	l := &limiter{counters: p.newCounters(limits)}
	if p.hasHeaders {
		l.policyHeader = policyHeader(limits)
	}
	return l
}

// plans are the limiters of the controller's plans, each made by the first request of a consumer with the plan.
type plans struct {
	known    v1alpha.Consumers
	make     func([]limit) *limiter
	mutex    sync.RWMutex
	limiters map[string]planLimiter // by name
}

type planLimiter struct {
	plan *v1alpha.Plan
	*limiter
}

// limiterOf returns the limiter for the plan of the client; nil: it has none, or one without limits. A plan that has changed counts
// from 0.
func (p *plans) limiterOf(req *v1alpha.RequestContext) (*limiter, error) {
	if p == nil {
		return nil, nil
	}
	identity, _ := v1alpha.IdentityOf(req.Metadata)
	if identity.Plan == "" {
		return nil, nil
	}
	plan := p.known.Plan(identity.Plan)
	if plan == nil || len(plan.Limits) == 0 {
		return nil, nil
	}
	p.mutex.RLock()
	found := p.limiters[plan.Name]
	p.mutex.RUnlock()
	if found.plan == plan {
		return found.limiter, nil
	}
	return p.replace(plan)
}

func (p *plans) replace(plan *v1alpha.Plan) (*limiter, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	old := p.limiters[plan.Name]
	if old.plan == plan {
		return old.limiter, nil
	}
	var specs []limitParameters
	if err := v1alpha.Params(plan.Limits).Decode(&specs); err != nil {
		return nil, fmt.Errorf("plan %s: %w", plan.Name, err)
	}
	limits, err := limitsOf(specs)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", plan.Name, err)
	}
	p.limiters[plan.Name] = planLimiter{plan, p.make(limits)}
	return p.limiters[plan.Name].limiter, nil
}
