// Package bodylength is the twin in Go of the policy body-length: it tells upstream how many bytes the buffered body has.
package bodylength

import (
	"context"
	"strconv"

	"gatewright.dev/sdk/policy/v1alpha"
)

const name = "x-body-length"

type policy struct{}

// GetPolicy builds an instance. It has no parameters.
func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return policy{}, nil }

// OnRequest tells upstream the length.
func (policy) OnRequest(_ context.Context, request *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	set := []v1alpha.Header{{Name: name, Value: strconv.Itoa(len(request.Body))}}
	return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: set}}, nil
}

// OnResponse tells the client that it did.
func (policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	set := []v1alpha.Header{{Name: name, Value: "told"}}
	return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{Set: set}}, nil
}

// Close does nothing.
func (policy) Close() error { return nil }

// NeverBlocks says that the policy waits for nothing.
func (policy) NeverBlocks() {}
