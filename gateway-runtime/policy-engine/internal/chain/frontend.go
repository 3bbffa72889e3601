package chain

import (
	"context"
	"errors"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Direction is that of a message.
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

// FrontEnd stands between a chain and the wire, one for each exchange. First comes Request; then for the request, and
// after Response for the response: NextPiece as often as the chain wants the body, SendHeaders, and where its Follows is
// set SendPiece, and SendLast or SendRest. Answer instead of any SendHeaders ends it all.
//
// Where a chain streams bodies, goroutines call at once: one that reads and one that sends, for each direction; and the
// response comes while the request is under way.
//
// An error of any call but those below ends the exchange, and Run returns it. Calls with a context return when it is done.
type FrontEnd interface {
	// Request is the request as the client sent it.
	Request() Head
	// Response waits for the response: upstream's, or one that the proxy made itself.
	Response(ctx context.Context) (Head, error)
	// NextPiece waits for the next piece of a message's body; io.EOF follows the last one. It is called only where the
	// chain's mode asks for that body and the message did not end with its headers. The piece is the caller's to keep.
	// ErrResponded: the proxy answered before the request went on; Response gives that answer.
	NextPiece(ctx context.Context, direction Direction) ([]byte, error)
	// HasBody waits until something has come behind the headers, and reports whether it is a body: to a message of headers
	// and trailers none can be sent but with its headers. ErrResponded is as that of NextPiece.
	HasBody(ctx context.Context, direction Direction) (bool, error)
	// Trailers are those of a message, once NextPiece has returned io.EOF; nil if it has none.
	Trailers(direction Direction) (v1alpha.Headers, error)
	// SendHeaders lets a message go on. ErrResponded is as that of NextPiece: where bodies stream, the proxy's answer may
	// come while nobody waits for a piece.
	SendHeaders(direction Direction, changes Changes) error
	// SendPiece sends a piece of the body on. It may wait for what HasBody does; ErrNoBody: there is none.
	SendPiece(ctx context.Context, direction Direction, piece []byte) error
	// SendLast is SendPiece for the last piece, which may be empty. What NextPiece has not given is dropped. The changes
	// are those of the trailers; a message that has none gets none.
	SendLast(ctx context.Context, direction Direction, piece []byte, trailers v1alpha.HeaderModifications) error
	// SendRest sends on what of the body NextPiece has not given, as it comes, and returns without waiting for it.
	SendRest(ctx context.Context, direction Direction) error
	// CopyRest has to be given what SendRest sends on from now on, in order: each piece, and nil behind the last one. to
	// waits for nothing, and does not change a piece or keep it. It is called once for a direction, before SendRest.
	CopyRest(direction Direction, to func(piece []byte))
	// Finish waits until all has gone of the bodies for which the chain has called SendRest.
	Finish(ctx context.Context) error
	// Answer ends the exchange with a response of the gateway's own.
	Answer(answer Answer) error
}

// What front ends return.
var (
	// ErrResponded is what NextPiece, HasBody and SendHeaders return when the proxy answered the request itself, before it went on.
	ErrResponded = errors.New("the proxy has answered the request itself")
	// ErrNoBody is what SendPiece returns for a message of headers and trailers: it takes no body behind its headers.
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

// Changes are what a chain makes of a message, ready to be applied: remove, then set, then append.
type Changes struct {
	Headers v1alpha.HeaderModifications // minimal; a name that stands twice in Set gets both values

	Method    string // requests; "" is unchanged
	Path      string // requests; with the query; "" is unchanged
	Authority string // requests; "" is unchanged
	Upstream  string // requests; the name of one of the chain's upstreams; "" is the route's own
	Status    int    // responses; 0 is unchanged

	// Body replaces a body that NextPiece was never asked for, or that did not exist. nil: it goes on unchanged.
	Body *[]byte
	// Follows says that the body comes by SendPiece, SendLast and SendRest.
	Follows bool
	// Analytics goes to the access log. It can be marshalled as JSON.
	Analytics map[string]any
	// Identity goes there, too; nil: there is none, or it has been told.
	Identity *Identity
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
