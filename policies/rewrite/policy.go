// Package rewrite is the policy rewrite: it changes the path, query, host and method of the upstream request.
package rewrite

import (
	"context"
	"fmt"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	path         pathRewrite // nil: unchanged
	query        *queryEdits // nil: unchanged
	host, method *string
}

// GetPolicy builds an instance. Parameters: {"path": {"prefix": {"from", "to"}} or {"template": "…"} or {"regex":
// {"pattern", "replacement"}}, "query": {"set": [{"name", "value"}…], "remove": ["a"…]}, "host": "…", "method": "POST"}.
// An unknown placeholder, an invalid pattern, and a path that can never be valid are errors.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed struct {
		Path   *pathSpec  `json:"path"`
		Query  *querySpec `json:"query"`
		Host   *string    `json:"host"`
		Method *string    `json:"method"`
	}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	p := &policy{host: parsed.Host, method: parsed.Method}
	var err error
	if parsed.Path != nil {
		if p.path, err = parsed.Path.parse(metadata.Operation); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
	}
	if parsed.Query != nil {
		if p.query, err = parsed.Query.parse(metadata.Operation); err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
	}
	return p, nil
}

// OnRequest rewrites the request, or answers 400 if the client's request does not allow it.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	changes := &v1alpha.UpstreamRequestModifications{Authority: p.host, Method: p.method}
	if p.path != nil {
		below, changed, err := p.path(req, belowContext(req))
		if err == nil && changed {
			err = checkPath(below)
		}
		if err != nil {
			return badRequest(err.Error()), nil
		}
		if changed {
			path := underContext(req, below)
			changes.Path = &path
		}
	}
	if p.query != nil {
		query := p.query.of(req)
		changes.Query = &query
	}
	return changes, nil
}

// badRequest returns an answer with the client's mistake, which must not quote the request.
func badRequest(detail string) *v1alpha.ImmediateResponse {
	return &v1alpha.ImmediateResponse{
		StatusCode: 400,
		Headers:    []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}},
		Body:       fmt.Appendf(nil, `{"type":"about:blank","title":"Bad Request","status":400,"detail":%q}`, detail),
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
