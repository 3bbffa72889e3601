// Package celauthz is the policy cel-authz: it lets requests pass by rules in CEL.
package celauthz

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// analytics is the name of the rule that has refused a request, in the access log.
const analytics = "cel_authz"

type parameters struct {
	Deny       []given `json:"deny"`
	Allow      []given `json:"allow"`
	StatusCode int     `json:"statusCode"`
}

// given is a rule as a publisher writes it.
type given struct {
	When string `json:"when"`
	Name string `json:"name"`
}

type policy struct {
	deny, allow []rule // allow is nil where all may pass that deny lets by
	status      int
}

type rule struct {
	place, name string
	when        v1alpha.Condition
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml. A rule that is no condition is an error.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var said parameters
	if err := params.Decode(&said); err != nil {
		return nil, err
	}
	deny, err := rules(metadata, "deny", said.Deny)
	if err != nil {
		return nil, err
	}
	allow, err := rules(metadata, "allow", said.Allow)
	if err != nil {
		return nil, err
	}
	return &policy{deny: deny, allow: allow, status: said.StatusCode}, nil
}

func rules(metadata v1alpha.Metadata, field string, said []given) ([]rule, error) {
	var made []rule
	for n, each := range said {
		place := fmt.Sprintf("%s[%d]", field, n)
		when, err := metadata.Compile(each.When)
		if err != nil {
			return nil, fmt.Errorf("%s.when: %w", place, err)
		}
		made = append(made, rule{place: place, name: cmp.Or(each.Name, place), when: when})
	}
	return made, nil
}

// OnRequest answers what may not pass.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	denied, err := first(p.deny, req)
	if err != nil {
		return nil, err
	}
	if denied != nil {
		return p.refusal(denied.name), nil
	}
	if p.allow == nil {
		return nil, nil
	}
	allowed, err := first(p.allow, req)
	if err != nil {
		return nil, err
	}
	if allowed == nil {
		return p.refusal("allow"), nil
	}
	return nil, nil
}

// first is the first rule that is true; nil: none is. As with CEL's own ||, what one cannot say does not count where
// another one decides, and is an error where none does.
func first(rules []rule, req *v1alpha.RequestContext) (*rule, error) {
	var unknown error
	for n := range rules {
		applies, err := rules[n].when.Applies(req)
		if applies && err == nil {
			return &rules[n], nil
		}
		if err != nil && unknown == nil {
			unknown = fmt.Errorf("%s.when: %w", rules[n].place, err)
		}
	}
	return nil, unknown
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

// NeverBlocks says that the policy waits for nothing.
func (*policy) NeverBlocks() {}
