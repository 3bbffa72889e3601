package quota

import (
	"fmt"
	"sync"

	"gatewright.dev/sdk/policy/v1alpha"
)

// plans are the quotas of the controller's plans in a period.
type plans struct {
	known  v1alpha.Consumers
	period string
	limits sync.Map // of each plan's name, its planLimit
}

// planLimit is the requests of a plan in the period; 0: it has no quota of the period.
type planLimit struct {
	plan     *v1alpha.Plan
	requests int64
}

// newPlans returns nil if plans do not count.
func newPlans(counts bool, known v1alpha.Consumers, period string) *plans {
	if !counts || known == nil {
		return nil
	}
	return &plans{known: known, period: period}
}

// limitOf returns the requests that the client's plan allows; 0: it has none, or one without a quota of the period.
func (p *plans) limitOf(req *v1alpha.RequestContext) (int64, error) {
	if p == nil {
		return 0, nil
	}
	identity, _ := v1alpha.IdentityOf(req.Metadata)
	if identity.Plan == "" {
		return 0, nil
	}
	plan := p.known.Plan(identity.Plan)
	if plan == nil || len(plan.Quotas) == 0 {
		return 0, nil
	}
	if found, ok := p.limits.Load(plan.Name); ok {
		if limit, ok := found.(planLimit); ok && limit.plan == plan {
			return limit.requests, nil
		}
	}
	var quotas []struct {
		Requests int64  `json:"requests"`
		Period   string `json:"period"`
	}
	if err := v1alpha.Params(plan.Quotas).Decode(&quotas); err != nil {
		return 0, fmt.Errorf("plan %s: %w", plan.Name, err)
	}
	limit := planLimit{plan: plan}
	for _, quota := range quotas {
		if quota.Period == p.period {
			limit.requests = quota.Requests
		}
	}
	p.limits.Store(plan.Name, limit)
	return limit.requests, nil
}
