// Package v1alpha contains the parts of a Gatewright policy in Go: the interface that it implements, the contexts it
// receives, the actions it returns. Standard library only.
//
// A policy module exports one function of type Factory, by the name GetPolicy.
package v1alpha

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Policy is one policy instance: a policy with the parameters of one attachment. It is built once, used by many
// exchanges at the same time, and closed once, after its last use.
//
// A phase that the policy's definition skips is never called. Returning nil, nil passes the exchange on unchanged.
// A returned error that is (or wraps) a *Failure keeps its class; any other error, and a panic, is ClassException.
type Policy interface {
	// OnRequest sees the request before it goes on. ctx is done at the attachment's timeout, or when the client is gone.
	OnRequest(ctx context.Context, req *RequestContext) (RequestAction, error)
	// OnResponse sees the response before it goes back. ctx is as that of OnRequest.
	OnResponse(ctx context.Context, res *ResponseContext) (ResponseAction, error)
	// Close releases the instance's resources. Its error is logged.
	Close() error
}

// Factory builds a policy instance. An error refuses the API that attaches the policy, and is shown to the API's publisher.
type Factory func(Metadata, Params) (Policy, error)

// NeverBlocks is an optional marker: the policy never waits for anything. Its hooks are called without a goroutine to
// guard them, and without a timeout.
type NeverBlocks interface{ NeverBlocks() }

// KeepsDeadlines is an optional marker: both hooks return promptly once their ctx is done, so the chain need not
// guard them with a goroutine of its own.
type KeepsDeadlines interface{ KeepsDeadlines() }

// Metadata describes the instance that a Factory builds.
type Metadata struct {
	InstanceID     string        // hash; the same for as long as the attachment is unchanged
	PolicyName     string        // "add-headers"
	PolicyVersion  string        // "v1.0.0"
	APIName        string        // metadata.name of the API that attaches it: "orders-v1"
	APIVersion     string        // spec.version of that API: "v1.0"
	SystemParams   Params        // set by the operator, not by the API's publisher
	Conditions     Conditions    // compiles expressions in CEL: see Compile; nil if a test provides none
	MaxConcurrency int           // executions of this instance at once, 0 if the attachment names none: no limit for a Go policy
	Operation      string        // of the attachment, "GET /{id}" or "GET /{id} [x-version=2]"; empty if the policy is attached to the API
	PrepareTimeout time.Duration // limit for prepare of a Python policy; 0 is the default, 10 s
	Timeout        time.Duration // of an execution; of a stream, for its own work between two chunks
	Metrics        *Metrics      // of the policy, shared by all its instances
	Store          Store         // of the policy at this API; nil if a test provides none
	Consumers      Consumers     // of the controller, as the node has them; nil if a test provides none
}

// Params are an attachment's parameters: a JSON object that is valid by the policy's schema, defaults applied.
type Params json.RawMessage

// Decode decodes into a pointer to a struct, and refuses keys that the struct does not have. An empty Params is {}.
func (p Params) Decode(into any) error {
	decoder := json.NewDecoder(bytes.NewReader(p.JSON()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("decode parameters: %w", err)
	}
	return nil
}

// JSON returns the parameters as JSON text, {} when there are none.
func (p Params) JSON() []byte {
	if len(p) == 0 {
		return []byte("{}")
	}
	return p
}
