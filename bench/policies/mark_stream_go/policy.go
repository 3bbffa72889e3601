// Package markstream is the twin in Go of the policy mark-stream: it makes each "~" of a body that passes a "#".
package markstream

import (
	"bytes"
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

type policy struct{}

// GetPolicy builds an instance. It has no parameters.
func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return policy{}, nil }

// OnRequestStream marks the request's body.
func (policy) OnRequestStream(_ context.Context, _ *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return marked(chunks)
}

// OnResponseStream marks the response's body.
func (policy) OnResponseStream(_ context.Context, _ *v1alpha.ResponseContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return marked(chunks)
}

func marked(chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		for chunk, err := range chunks {
			mark(chunk)
			if !yield(chunk, err) {
				return
			}
		}
	}
}

func mark(chunk []byte) {
	for at := bytes.IndexByte(chunk, '~'); at >= 0; at = bytes.IndexByte(chunk, '~') {
		chunk[at] = '#'
		chunk = chunk[at+1:]
	}
}

// OnRequest is not called: the definition asks for streams alone.
func (policy) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return nil, nil //nolint:nilnil // nothing changes
}

// OnResponse is not called either.
func (policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil //nolint:nilnil // nothing changes
}

// Close does nothing.
func (policy) Close() error { return nil }
