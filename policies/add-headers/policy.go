// Package addheaders is the policy add-headers: it sets headers of the request to the upstream and of the response
// to the client.
package addheaders

import (
	"context"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// policy keeps its two actions, which are the same for every exchange.
type policy struct {
	request  *v1alpha.UpstreamRequestModifications
	response *v1alpha.UpstreamResponseModifications
}

// GetPolicy builds an instance. Parameters: {"requestHeaders": [{"name", "value"}…], "responseHeaders": […]}, both
// empty by default.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var p struct {
		RequestHeaders  []header `json:"requestHeaders"`
		ResponseHeaders []header `json:"responseHeaders"`
	}
	if err := params.Decode(&p); err != nil {
		return nil, err
	}
	return &policy{
		&v1alpha.UpstreamRequestModifications{Headers: modifications(p.RequestHeaders)},
		&v1alpha.UpstreamResponseModifications{Headers: modifications(p.ResponseHeaders)},
	}, nil
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// modifications sets headers that may occur once, and appends cookies to existing ones.
func modifications(headers []header) v1alpha.HeaderModifications {
	var m v1alpha.HeaderModifications
	for _, h := range headers {
		if strings.EqualFold(h.Name, "set-cookie") {
			m.Append = append(m.Append, v1alpha.Header(h))
		} else {
			m.Set = append(m.Set, v1alpha.Header(h))
		}
	}
	return m
}

// OnRequest sets the request's headers.
func (p *policy) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return p.request, nil
}

// OnResponse sets the response's headers.
func (p *policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return p.response, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
