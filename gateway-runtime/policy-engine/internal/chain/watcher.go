package chain

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Watcher is told of one exchange in detail: what each policy is given, and what it makes of it. An exchange that nobody
// looks at has none, and pays nothing for that there could be one.
//
// Calls come in order, but for streams: their executions run beside those of the other direction, so calls of one
// direction may come at the same time as calls of the other. What a View shows is to be read during the call alone.
type Watcher interface {
	// ExecutionBegan is told before the policy is called. What it returns is the context of the hook.
	ExecutionBegan(ctx context.Context, turn Turn, seen View) context.Context
	// ExecutionEnded is told when the action, or the failure, has had its effect.
	ExecutionEnded(turn Turn, execution Execution, left View)
}

// Turn says which execution of an exchange is meant. No two of an exchange are equal.
type Turn struct {
	Index  int    // of the policy in the chain, from 0
	Phase  string // PhaseRequest, …
	Policy string // name:version
}

// View is an exchange as it stands between two policies. Nothing in it may be changed or kept.
type View struct {
	Method, Path, Query, Authority, Upstream string // of the request, as the policies left them
	RequestHeaders                           v1alpha.Headers
	RequestBody                              BodyView

	HasResponse     bool // there is one by now
	Answered        bool // it is the gateway's own: a policy's, or that of a failure
	Status          int
	Details         string // of the gateway's own: policy_answer, policy_timeout, …
	ResponseHeaders v1alpha.Headers
	ResponseBody    BodyView

	Metadata *v1alpha.ExchangeMetadata
}

// BodyView is what the engine holds of a body.
type BodyView struct {
	Pieces [][]byte
	Size   int64 // of the pieces
	Whole  bool  // there is no more: all of the body is in the pieces, or there is none
}
