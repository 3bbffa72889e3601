// Package stamp sets one header, so that a test sees that a policy from a module proxy ran.
package stamp

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct{}

// GetPolicy builds an instance. It has no parameters.
func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return policy{}, nil }

func (policy) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	set := v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-stamp", Value: "module"}}}
	return &v1alpha.UpstreamRequestModifications{Headers: set}, nil
}

func (policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

func (policy) Close() error { return nil }
