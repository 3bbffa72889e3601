// Package rewrite is the policy rewrite: it changes what is asked of upstream: path, query, host and method.
package rewrite

import (
	"context"
	"fmt"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	path         pathRewrite // nil: it stays
	query        *queryEdits // nil: it stays
	host, method *string
}

// GetPolicy builds an instance. Parameters: {"path": {"prefix": {"from", "to"}} or {"template": "…"} or {"regex":
// {"pattern", "replacement"}}, "query": {"set": [{"name", "value"}…], "remove": ["a"…]}, "host": "…", "method": "POST"}.
// A placeholder that is unknown, a pattern that is none, and a path that can never be one are errors.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given struct {
		Path   *writtenPath  `json:"path"`
		Query  *writtenQuery `json:"query"`
		Host   *string       `json:"host"`
		Method *string       `json:"method"`
	}
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	made := &policy{host: given.Host, method: given.Method}
	var err error
	if given.Path != nil {
		if made.path, err = given.Path.parse(metadata.Operation); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
	}
	if given.Query != nil {
		if made.query, err = given.Query.parse(metadata.Operation); err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
	}
	return made, nil
}

// OnRequest rewrites the request, or answers 400 where that cannot be done with what the client sent.
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

// badRequest says what the client sent wrong, in words that have nothing of it.
func badRequest(why string) *v1alpha.ImmediateResponse {
	return &v1alpha.ImmediateResponse{
		StatusCode: 400,
		Headers:    []v1alpha.Header{{Name: "content-type", Value: "application/problem+json"}},
		Body:       fmt.Appendf(nil, `{"type":"about:blank","title":"Bad Request","status":400,"detail":%q}`, why),
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
