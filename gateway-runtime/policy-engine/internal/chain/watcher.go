package chain

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Watcher observes one exchange in detail: the input and the output of each policy, and both messages as they came and
// as they left. An unwatched exchange has none, and pays nothing for the possibility.
//
// Calls come in order, except for bodies that policies stream: those of the two directions may come at the same time,
// and so may pieces that come and pieces that leave. A call's arguments may be read during the call only, and never be
// changed.
type Watcher interface {
	// ExecutionBegan comes before the policy is called. It returns the context of the hook, derived from ctx.
	ExecutionBegan(ctx context.Context, turn Turn, seen View) context.Context
	// ExecutionEnded comes after the action, or the failure, has taken effect. For a stream, left has only Metadata, the
	// trailers and the Analytics that the stream leaves, and the answer if the stream rejected the message.
	ExecutionEnded(turn Turn, execution Execution, left View)
	// ExecutionSkipped comes instead of both, at the turn of a policy that does not apply to the exchange, with its
	// condition. The turn is that of the request phase; it is not called again for the response.
	ExecutionSkipped(turn Turn, condition string)
	// StreamChunk comes for each chunk that a policy's stream reads (Came) and for each that it yields (Left).
	StreamChunk(turn Turn, side Side, chunk []byte)

	// ShadowBegan comes when a shadow attachment is about to run beside the exchange, which has reached its place. It
	// returns the context of the hook, derived from ctx.
	ShadowBegan(ctx context.Context, turn Turn) context.Context
	// ShadowEnded comes once for each ShadowBegan, at any time: from another goroutine, and perhaps after the exchange has
	// ended.
	ShadowEnded(turn Turn, shadow Shadow)

	// MessageHead comes for a message without the rest of its body: the response as it came, and both messages as they
	// leave. The request as it came is what the watcher was made for. An answer of the gateway's own only leaves.
	MessageHead(direction Direction, side Side, message View)
	// MessagePiece comes for each piece of a body that the engine receives, and for each that it sends behind the head.
	MessagePiece(direction Direction, side Side, piece []byte)
	// MessageRest comes when the rest of a body is forwarded unseen.
	MessageRest(direction Direction)
	// MessageTrailers comes for trailers, if a policy streams the body.
	MessageTrailers(direction Direction, side Side, trailers v1alpha.Headers)
	// MessageAnalytics comes for the analytics that go with the end of a message, if streams have left some.
	MessageAnalytics(direction Direction, analytics map[string]any)
}

// Side is the side of the engine, or of a stream, on which a message is observed.
type Side uint8

// The sides.
const (
	Came Side = iota
	Left
)

// Turn identifies an execution. All turns of an exchange differ.
type Turn struct {
	Index  int    // of the policy in the chain, from 0
	Phase  string // PhaseRequest, …
	Policy string // name:version
}

// View is the state of an exchange between two policies. It must not be changed or kept, except for header lists: those
// are never changed.
type View struct {
	Method, Path, Query, Authority, Upstream string // of the request, after the policies' changes
	RequestHeaders                           v1alpha.Headers
	RequestBody                              BodyView // none from the response on

	HasResponse     bool // there is a response
	Answered        bool // the response is the gateway's own: a policy's, or a failure's
	Status          int
	Details         string // of a response of the gateway's own: policy_answer, policy_timeout, …
	ResponseHeaders v1alpha.Headers
	ResponseBody    BodyView

	Metadata  *v1alpha.ExchangeMetadata // nil for a response that the chain does not see: unchanged
	Analytics map[string]any            // for the access log: not sent yet, or sent with this message

	TrailersSeen, Trailers v1alpha.Headers // at the end of a stream: before and after the policy's changes
}

// BodyView is the part of a body that the engine holds.
type BodyView struct {
	Pieces [][]byte
	Size   int64 // of the pieces
	Whole  bool  // the pieces are the whole body, which may be empty
}
