// Package celauthz is the policy cel-authz: it admits requests by rules in CEL.
package celauthz

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// analytics is the field of the access log with the name of the rule that has refused a request.
const analytics = "cel_authz"

type parameters struct {
	Deny       []ruleSpec `json:"deny"`
	Allow      []ruleSpec `json:"allow"`
	StatusCode int        `json:"statusCode"`
}

// ruleSpec is a rule in the parameters.
type ruleSpec struct {
	When string `json:"when"`
	Name string `json:"name"`
}

type policy struct {
	deny, allow []rule // allow is nil if the parameters have none: then all requests pass that deny does not refuse
	status      int
}

type rule struct {
	place, name string
	when        v1alpha.Condition
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml. A rule whose condition does not compile is an error.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed parameters
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	deny, err := compileRules(metadata, "deny", parsed.Deny)
	if err != nil {
		return nil, err
	}
	allow, err := compileRules(metadata, "allow", parsed.Allow)
	if err != nil {
		return nil, err
	}
	return &policy{deny: deny, allow: allow, status: parsed.StatusCode}, nil
}

func compileRules(metadata v1alpha.Metadata, field string, specs []ruleSpec) ([]rule, error) {
	var compiled []rule
	for n, spec := range specs {
		place := fmt.Sprintf("%s[%d]", field, n)
		when, err := metadata.Compile(spec.When)
		if err != nil {
			return nil, fmt.Errorf("%s.when: %w", place, err)
		}
		compiled = append(compiled, rule{place: place, name: cmp.Or(spec.Name, place), when: when})
	}
	return compiled, nil
}

// OnRequest refuses requests by the rules.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	denied, err := firstMatch(p.deny, req)
	if err != nil {
		return nil, err
	}
	if denied != nil {
		return p.refusal(denied.name), nil
	}
	if p.allow == nil {
		return nil, nil
	}
	allowed, err := firstMatch(p.allow, req)
	if err != nil {
		return nil, err
	}
	if allowed == nil {
		return p.refusal("allow"), nil
	}
	return nil, nil
}

// firstMatch returns the first rule that applies, or nil. As with CEL's ||, an error of one rule is ignored if another rule
// applies, and returned otherwise.
func firstMatch(rules []rule, req *v1alpha.RequestContext) (*rule, error) {
	var failure error
	for n := range rules {
		applies, err := rules[n].when.Applies(req)
		if applies && err == nil {
			return &rules[n], nil
		}
		if err != nil && failure == nil {
			failure = fmt.Errorf("%s.when: %w", rules[n].place, err)
		}
	}
	return nil, failure
}

func (p *policy) refusal(name string) *v1alpha.ImmediateResponse {
	headers := []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}}
	if p.status == http.StatusUnauthorized {
		headers = append(headers, v1alpha.Header{Name: "www-authenticate", Value: "Bearer"})
	}
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d}`, http.StatusText(p.status), p.status)
	return &v1alpha.ImmediateResponse{
		StatusCode: p.status, Headers: headers, Body: []byte(body), AnalyticsMetadata: map[string]any{analytics: name},
	}
}

// OnResponse is never called.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
