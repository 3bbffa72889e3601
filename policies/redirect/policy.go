// Package redirect is the policy redirect: it redirects clients to another address.
package redirect

import (
	"context"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct {
	to, prefix string
	keepQuery  bool
	status     int
}

// GetPolicy builds an instance. Parameters: {"to": "https://new.example/store", "prefix": "/shop", "keepQuery": true,
// "statusCode": 307}.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed struct {
		To         string `json:"to"`
		Prefix     string `json:"prefix"`
		KeepQuery  bool   `json:"keepQuery"`
		StatusCode int    `json:"statusCode"`
	}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	return &policy{parsed.To, parsed.Prefix, parsed.KeepQuery, parsed.StatusCode}, nil
}

// OnRequest answers with a redirect.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	location := p.to
	if rest, found := strings.CutPrefix(req.RawPath, p.prefix); p.prefix != "" && found && strings.HasPrefix(rest, "/") {
		// the client's part begins with exactly one slash, so that it is a path below "to" and never a host (browsers read \ as /)
		location = strings.TrimRight(p.to, "/") + "/" + strings.TrimLeft(rest, `/\`)
	}
	if p.keepQuery && req.Query != "" {
		location += "?" + req.Query
	}
	return &v1alpha.ImmediateResponse{
		StatusCode: p.status,
		Headers:    []v1alpha.Header{{Name: "location", Value: location}},
	}, nil
}

// OnResponse is never called.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
