package chain

import (
	"context"
	"errors"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Direction is the direction of a message.
type Direction uint8

// The directions.
const (
	Request Direction = iota
	Response
)

func (d Direction) String() string {
	if d == Request {
		return "request"
	}
	return "response"
}

// FrontEnd stands between a chain and the wire, one for each exchange. The chain calls Request first; then for the
// request, and after Response for the response: NextPiece as often as it needs the body, SendHeaders, and if its
// Follows is set SendPiece, and SendLast or SendRest. Answer, instead of any SendHeaders, ends the exchange.
//
// If a chain streams bodies, several goroutines call at once: one reader and one sender for each direction; and the
// response comes while the request is under way.
//
// An error of any call, except for those below, ends the exchange, and Run returns it. Calls with a context return when
// it is done.
type FrontEnd interface {
	// Request returns the request as the client sent it.
	Request() Head
	// Response waits for the response: the upstream's, or one that the proxy made itself.
	Response(ctx context.Context) (Head, error)
	// NextPiece waits for the next piece of a message's body; io.EOF follows the last one. It is called only if the
	// chain's mode includes that body and the message did not end with its headers. The caller may keep the piece.
	// ErrResponded: the proxy answered before the request went on; Response returns that answer.
	NextPiece(ctx context.Context, direction Direction) ([]byte, error)
	// HasBody waits until more has come than the headers, and reports whether it is a body: a message of headers and
	// trailers can get a body only together with its headers. ErrResponded means the same as for NextPiece.
	HasBody(ctx context.Context, direction Direction) (bool, error)
	// Trailers returns those of a message, once NextPiece has returned io.EOF; nil if it has none.
	Trailers(direction Direction) (v1alpha.Headers, error)
	// SendHeaders lets a message go on. ErrResponded means the same as for NextPiece: when bodies stream, the proxy's
	// answer may come while no goroutine waits for a piece.
	SendHeaders(direction Direction, changes Changes) error
	// SendPiece sends a piece of the body on. It may wait as HasBody does. ErrNoBody: the message has no body.
	SendPiece(ctx context.Context, direction Direction, piece []byte) error
	// SendLast is SendPiece for the last piece, which may be empty. Pieces that NextPiece has not returned are dropped.
	SendLast(ctx context.Context, direction Direction, piece []byte, end End) error
	// SendRest sends on the rest of the body, from where NextPiece stopped, as it comes. It returns without waiting for
	// it.
	SendRest(ctx context.Context, direction Direction) error
	// CopyRest has `to` called with everything that SendRest sends on, in order: each piece, and nil behind the last one.
	// `to` does not block, and neither changes a piece nor keeps it. CopyRest is called once for a direction, before
	// SendRest.
	CopyRest(direction Direction, to func(piece []byte))
	// Finish waits until all bodies for which the chain has called SendRest have been sent.
	Finish(ctx context.Context) error
	// Answer ends the exchange with a response of the gateway's own.
	Answer(answer Answer) error
}

// The errors that front ends return.
var (
	// ErrResponded is returned by NextPiece, HasBody and SendHeaders if the proxy answered the request itself, before it
	// went on.
	ErrResponded = errors.New("the proxy has answered the request itself")
	// ErrNoBody is returned by SendPiece for a message of headers and trailers: it takes no body behind its headers.
	ErrNoBody = errors.New("the message came without a body, and its headers have gone")
)

// Head is a message without its body.
type Head struct {
	Headers v1alpha.Headers // in wire order, lower case, no pseudo-headers
	Ended   bool            // there is no body and there are no trailers

	Method, Scheme, Authority string        // requests
	Path                      string        // requests; with the query
	ClientAddress             string        // requests; ip:port
	Peer                      *v1alpha.Peer // requests; nil: the client has shown no certificate
	RequestID                 string        // requests

	Status int // responses
}

// Changes are a chain's changes of a message, ready to be applied: remove, then set, then append.
type Changes struct {
	Headers v1alpha.HeaderModifications // minimal; a name that occurs twice in Set gets both values

	Method    string            // requests; "" is unchanged
	Path      string            // requests; with the query; "" is unchanged
	Authority string            // requests; "" is unchanged
	Upstream  string            // requests; the name of one of the chain's upstreams; "" is the route's own
	Attempts  []v1alpha.Attempt // requests; the upstreams that are asked one after the other, in place of Upstream
	Status    int               // responses; 0 is unchanged

	// Body replaces a body that NextPiece was never called for, or that did not exist. nil: it goes on unchanged.
	Body *[]byte
	// Follows says that the body follows by SendPiece, SendLast and SendRest.
	Follows bool
	// Analytics goes to the access log. It can be marshalled as JSON.
	Analytics map[string]any
	// Identity goes there, too; nil: none, or it has been sent already.
	Identity *Identity
}

// End is what the end of a message that policies stream brings beside its last piece.
type End struct {
	Trailers  v1alpha.HeaderModifications // a message without trailers gets none
	Analytics map[string]any              // as in Changes, beside those that went with the headers
}

// Answer is a response that the gateway makes itself.
type Answer struct {
	Status    int
	Headers   v1alpha.Headers
	Body      []byte
	Details   string // for the access log: policy_answer, policy_timeout, …
	Analytics map[string]any
	Identity  *Identity // as in Changes

	// GRPCStatus is the status code for a gRPC client, whose message is Body. 0: it follows from Status.
	GRPCStatus uint32
}
