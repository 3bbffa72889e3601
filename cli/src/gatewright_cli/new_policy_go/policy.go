// Package mypolicy is the policy my-policy: it lets a request pass that names its tenant, and tells upstream.
package mypolicy

import (
	"context"
	"fmt"
	"slices"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	header string
}

// GetPolicy builds an instance, once for each attachment. Parameters: {"header": NAME}.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given struct {
		Header string `json:"header"`
	}
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	return &policy{given.Header}, nil
}

// OnRequest is called once for each request. The three things to change are numbered.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	// 1. What it looks at: also Method, Path, Query, Peer, …
	tenants := slices.Collect(req.Headers.Values(p.header))
	// 2. What it refuses: the client gets this, and upstream is not asked.
	if len(tenants) != 1 {
		return &v1alpha.ImmediateResponse{
			StatusCode: 400,
			Headers:    []v1alpha.Header{{Name: "content-type", Value: "text/plain"}},
			Body:       fmt.Appendf(nil, "expected one header %s, got %d\n", p.header, len(tenants)),
		}, nil
	}
	// 3. What it changes; nil, nil would change nothing.
	return &v1alpha.UpstreamRequestModifications{
		Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-seen-tenant", Value: tenants[0]}}},
	}, nil
}

// OnResponse is never called: the definition skips it.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close gives back what GetPolicy has taken.
func (*policy) Close() error { return nil }

// NeverBlocks says that it waits for nothing. Remove it where that is not so.
func (*policy) NeverBlocks() {}
