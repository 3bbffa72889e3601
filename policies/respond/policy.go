// Package respond is the policy respond: it answers each request with the response in its parameters.
package respond

import (
	"context"
	"fmt"
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// policy keeps its answer, which is the same for every request.
type policy struct{ answer *v1alpha.ImmediateResponse }

// GetPolicy builds an instance. Parameters: {"statusCode": 200, "contentType", "body", "headers": [{"name", "value"}…]}.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed struct {
		StatusCode  int    `json:"statusCode"`
		ContentType string `json:"contentType"`
		Body        string `json:"body"`
		Headers     []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"headers"`
	}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	answer := &v1alpha.ImmediateResponse{StatusCode: parsed.StatusCode, Body: []byte(parsed.Body)}
	if bodiless := parsed.StatusCode == http.StatusNoContent || parsed.StatusCode == http.StatusNotModified; bodiless && parsed.Body != "" {
		return nil, fmt.Errorf("body: expected none with status %d (RFC 9110, 6.4.1)", parsed.StatusCode)
	}
	if parsed.Body != "" {
		answer.Headers = append(answer.Headers, v1alpha.Header{Name: "content-type", Value: parsed.ContentType})
	}
	for _, header := range parsed.Headers {
		answer.Headers = append(answer.Headers, v1alpha.Header(header))
	}
	return &policy{answer}, nil
}

// OnRequest answers.
func (p *policy) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return p.answer, nil
}

// OnResponse is never called.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
