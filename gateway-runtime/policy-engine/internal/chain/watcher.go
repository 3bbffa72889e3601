package chain

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Watcher is told of one exchange in detail: what each policy is given, and what it makes of it; what came of both
// messages, and what left. An exchange that nobody looks at has none, and pays nothing for that there could be one.
//
// Calls come in order, but for bodies that policies stream: those of one direction may come at the same time as those of
// the other, and what comes of a direction at the same time as what leaves. What a call is given is to be read during the
// call alone, and never changed.
type Watcher interface {
	// ExecutionBegan is told before the policy is called. What it returns is the context of the hook, made of ctx.
	ExecutionBegan(ctx context.Context, turn Turn, seen View) context.Context
	// ExecutionEnded is told when the action, or the failure, has had its effect. Of a stream, left has Metadata and the
	// trailers, and the answer where it rejected the message: nothing else.
	ExecutionEnded(turn Turn, execution Execution, left View)
	// ExecutionSkipped is told, in place of both, at the turn of a policy that does not apply to the exchange: what its
	// condition says. The turn is that of the request phase; in the response it has none.
	ExecutionSkipped(turn Turn, condition string)
	// StreamChunk is told of each chunk that a policy's stream is given (Came) and of each that it yields (Left).
	StreamChunk(turn Turn, side Side, chunk []byte)

	// ShadowBegan is told that a shadow attachment's execution is to run beside the exchange, which has come to its place.
	// What it returns is the context of the hook, made of ctx.
	ShadowBegan(ctx context.Context, turn Turn) context.Context
	// ShadowEnded comes once for each ShadowBegan, at any time: from another goroutine, and after the exchange has ended.
	ShadowEnded(turn Turn, shadow Shadow)

	// MessageHead is told of a message without what follows of its body: the response as it came, and both messages as
	// they leave. The request as it came is what the watcher was made for. An answer of the gateway's own leaves, and did
	// not come.
	MessageHead(direction Direction, side Side, message View)
	// MessagePiece is told of each piece of a body that the engine was given, and of each that it sends behind the head.
	MessagePiece(direction Direction, side Side, piece []byte)
	// MessageRest is told that the rest of a body passes by without being looked at.
	MessageRest(direction Direction)
	// MessageTrailers is told of trailers, where a policy streams the body.
	MessageTrailers(direction Direction, side Side, trailers v1alpha.Headers)
}

// Side is that of the engine on which a message, or a stream, is looked at.
type Side uint8

// The sides.
const (
	Came Side = iota
	Left
)

// Turn says which execution of an exchange is meant. No two of an exchange are equal.
type Turn struct {
	Index  int    // of the policy in the chain, from 0
	Phase  string // PhaseRequest, …
	Policy string // name:version
}

// View is an exchange as it stands between two policies. Nothing in it may be changed or kept, but for header lists: those
// are never changed.
type View struct {
	Method, Path, Query, Authority, Upstream string // of the request, as the policies left them
	RequestHeaders                           v1alpha.Headers
	RequestBody                              BodyView // none from the response on

	HasResponse     bool // there is one by now
	Answered        bool // it is the gateway's own: a policy's, or that of a failure
	Status          int
	Details         string // of the gateway's own: policy_answer, policy_timeout, …
	ResponseHeaders v1alpha.Headers
	ResponseBody    BodyView

	Metadata  *v1alpha.ExchangeMetadata // nil of a response that the chain does not see: as it was
	Analytics map[string]any            // for the access log: what has not left yet, or leaves with this message

	TrailersSeen, Trailers v1alpha.Headers // at the end of a stream: what the policy was given, and what it left
}

// BodyView is what the engine holds of a body.
type BodyView struct {
	Pieces [][]byte
	Size   int64 // of the pieces
	Whole  bool  // there is no more: all of the body is in the pieces, or there is none
}
