package chain

import (
	"context"
	"errors"

	"gatewright.dev/sdk/policy/v1alpha"
)

// FrontEnd stands between a chain and the wire, one for each exchange. Its calls come from one goroutine, in this
// order: Request; then for the request, and after Response for the response: NextPiece as often as the chain wants
// the body, SendHeaders, and where its Follows is set SendPiece and SendRest. Answer instead of any Send ends it all.
//
// An error of any call but ErrResponded ends the exchange, and Run returns it.
type FrontEnd interface {
	// Request is the request as the client sent it.
	Request() Head
	// Response waits for the response: upstream's, or one that the proxy made itself.
	Response(ctx context.Context) (Head, error)
	// NextPiece waits for the next piece of the current message's body; io.EOF follows the last one. It is called
	// only where the chain's mode asks for that body and the message did not end with its headers.
	// ErrResponded: the proxy answered before the request had come in; Response gives that answer.
	NextPiece(ctx context.Context) ([]byte, error)
	// SendHeaders lets the current message go on.
	SendHeaders(changes Changes) error
	// SendPiece sends a piece of the body on. After the last one nothing follows.
	SendPiece(piece []byte, last bool) error
	// SendRest sends on what of the body NextPiece has not given, as it comes, and returns without waiting for it.
	SendRest() error
	// Answer ends the exchange with a response of the gateway's own.
	Answer(answer Answer) error
}

// ErrResponded is what NextPiece returns when the proxy answered the request itself, before all of it had come.
var ErrResponded = errors.New("the proxy has answered the request itself")

// Head is a message without its body.
type Head struct {
	Headers v1alpha.Headers // in wire order, lower case, no pseudo-headers
	Ended   bool            // there is no body and there are no trailers

	Method, Scheme, Authority string // requests
	Path                      string // requests; with the query
	ClientAddress             string // requests; ip:port
	RequestID                 string // requests

	Status int // responses
}

// Changes are what a chain makes of a message, ready to be applied: remove, then set, then append.
type Changes struct {
	Headers v1alpha.HeaderModifications // minimal; a name that stands twice in Set gets both values

	Method    string // requests; "" is unchanged
	Path      string // requests; with the query; "" is unchanged
	Authority string // requests; "" is unchanged
	Status    int    // responses; 0 is unchanged

	// Body replaces a body that NextPiece was never asked for, or that did not exist. nil: it goes on unchanged.
	Body *[]byte
	// Follows says that the body comes by SendPiece and SendRest.
	Follows bool
	// Analytics goes to the access log. It can be marshalled as JSON.
	Analytics map[string]any
}

// Answer is a response that the gateway makes itself.
type Answer struct {
	Status    int
	Headers   v1alpha.Headers
	Body      []byte
	Details   string // for the access log: policy_answer, policy_timeout, …
	Analytics map[string]any

	// GRPCStatus is the status code for a gRPC client, whose message is Body. 0: it follows from Status.
	GRPCStatus uint32
}
