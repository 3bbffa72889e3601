// Package respond is the policy respond: it answers each request with what stands in its parameters.
package respond

import (
	"context"
	"fmt"
	"net/http"

	"gatewright.dev/sdk/policy/v1alpha"
)

// policy holds its answer ready.
type policy struct{ answer *v1alpha.ImmediateResponse }

// GetPolicy builds an instance. Parameters: {"statusCode": 200, "contentType", "body", "headers": [{"name", "value"}…]}.
func GetPolicy(_ v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given struct {
		StatusCode  int    `json:"statusCode"`
		ContentType string `json:"contentType"`
		Body        string `json:"body"`
		Headers     []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"headers"`
	}
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	answer := &v1alpha.ImmediateResponse{StatusCode: given.StatusCode, Body: []byte(given.Body)}
	if bodiless := given.StatusCode == http.StatusNoContent || given.StatusCode == http.StatusNotModified; bodiless && given.Body != "" {
		return nil, fmt.Errorf("body: expected none with status %d (RFC 9110, 6.4.1)", given.StatusCode)
	}
	if given.Body != "" {
		answer.Headers = append(answer.Headers, v1alpha.Header{Name: "content-type", Value: given.ContentType})
	}
	for _, header := range given.Headers {
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

// NeverBlocks says that the policy waits for nothing.
func (*policy) NeverBlocks() {}
