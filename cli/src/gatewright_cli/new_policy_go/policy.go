// Package mypolicy is the policy my-policy: it lets a request pass if it names its tenant, and sends the tenant to the
// upstream.
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
	var config struct {
		Header string `json:"header"`
	}
	if err := params.Decode(&config); err != nil {
		return nil, err
	}
	return &policy{config.Header}, nil
}

// OnRequest is called once for each request. The three things to change are numbered.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	// 1. What it reads: also Method, Path, Query, Peer, …
	tenants := slices.Collect(req.Headers.Values(p.header))
	// 2. What it refuses: the client gets this answer, the upstream no request.
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

// Close releases what GetPolicy has opened.
func (*policy) Close() error { return nil }

// NeverBlocks declares that the policy never waits. Remove it if the policy does.
func (*policy) NeverBlocks() {}
