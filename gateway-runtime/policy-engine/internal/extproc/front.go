package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// pieceSize is how much of a body goes to Envoy in one message.
const pieceSize = 64 << 10

// front is one ext_proc stream as the chain's front end.
type front struct {
	stream  Stream
	message incoming    // the last message that came
	early   *chain.Head // of a response that came before the request had come in

	head                      chain.Head
	requestMode, responseMode filterv3.ProcessingMode_BodySendMode

	request, response direction
	responding        bool // the chain has asked for the response
}

// direction is how far the body of one direction has come.
type direction struct {
	ended      bool // its last message has come
	trailers   bool // that was trailers
	forwarding bool // what still comes is sent on as it is
	discarding bool // what still comes is of no interest: Envoy has answered the request
}

func (f *front) unexpected(want string) error {
	return fmt.Errorf("ext_proc: expected %s, got %s", want, f.message.kind)
}

// ---------------------------------------------------------------- exchange.FrontEnd

// Open waits for the request headers. Where Envoy refused a request before its filters saw it (an upgrade), the refusal
// comes in their place.
func (f *front) Open(context.Context) (exchange.Opening, error) {
	if err := f.receive(); err != nil {
		return exchange.Opening{}, err
	}
	if f.message.kind == responseHeaders && f.message.head.Status >= http.StatusBadRequest {
		return exchange.Opening{Refusal: f.message.head.Status}, nil
	}
	if f.message.kind != requestHeaders {
		return exchange.Opening{}, f.unexpected("request headers first")
	}
	f.head = f.message.head
	f.head.ClientAddress = f.message.client
	f.head.RequestID = f.head.Headers.Get("x-request-id")
	f.requestMode, f.responseMode = f.message.requestMode, f.message.responseMode
	f.request.ended = f.message.ended
	route := f.message.route
	return exchange.Opening{RequestID: f.head.RequestID, Route: route, ChainID: route[strings.LastIndexByte(route, '|')+1:]}, nil
}

// CheckMode refuses a route whose body modes are not those the chain needs.
func (f *front) CheckMode(c *chain.Chain) error {
	mode := c.Mode()
	if err := checkBodyMode("request", mode.WantsRequestBody(), f.requestMode); err != nil {
		return err
	}
	return checkBodyMode("response", mode.WantsResponseBody(), f.responseMode)
}

func checkBodyMode(what string, wanted bool, got filterv3.ProcessingMode_BodySendMode) error {
	want := filterv3.ProcessingMode_NONE
	if wanted {
		want = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	}
	if got != want {
		return fmt.Errorf("ext_proc: %s body mode of the route: expected %s, got %s", what, want, got)
	}
	return nil
}

// Finish waits until what passes on has passed.
func (f *front) Finish(context.Context) error {
	for f.request.forwarding && !f.request.ended || f.response.forwarding && !f.response.ended {
		if err := f.receive(); err != nil {
			return err
		}
		if handled, err := f.forward(); err != nil {
			return err
		} else if !handled {
			return f.unexpected("the rest of a body")
		}
	}
	return nil
}

// ---------------------------------------------------------------- receiving

// receive makes the next message the one that is now.
func (f *front) receive() error {
	message, err := f.stream.Receive()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("ext_proc: %w", exchange.ErrGone) // which is no proper end of a message
	}
	if err != nil {
		return streamError(err)
	}
	return f.message.decode(message)
}

func (f *front) send(message outgoing) error {
	return streamError(f.stream.Send(message.head, message.body))
}

// streamError tells a stream that is gone from one that has failed.
func streamError(err error) error {
	if status.Code(err) == codes.Canceled {
		return fmt.Errorf("%w: %w", exchange.ErrGone, err)
	}
	return err
}

// next receives the next message that is not to be passed on or dropped.
func (f *front) next() error {
	for {
		if err := f.receive(); err != nil {
			return err
		}
		if handled, err := f.forward(); !handled || err != nil {
			return err
		}
	}
}

// forward takes care of a piece or trailers that the chain does not read.
func (f *front) forward() (bool, error) {
	d := f.direction()
	if d == nil {
		return false, nil
	}
	if d.ended = f.message.ended; f.message.kind == requestTrailers || f.message.kind == responseTrailers {
		d.ended, d.trailers = true, true
	}
	if d.forwarding {
		return true, f.send(echo(&f.message))
	}
	return d.discarding, nil
}

// direction is that of a piece or trailers, nil for headers.
func (f *front) direction() *direction {
	switch f.message.kind {
	case requestBody, requestTrailers:
		return &f.request
	case responseBody, responseTrailers:
		return &f.response
	}
	return nil
}

// ---------------------------------------------------------------- chain.FrontEnd

// Request is the request's head.
func (f *front) Request() chain.Head { return f.head }

// Response waits for the response headers.
func (f *front) Response(context.Context) (chain.Head, error) {
	if f.early == nil {
		if err := f.next(); err != nil {
			return chain.Head{}, err
		}
		if f.message.kind != responseHeaders {
			return chain.Head{}, f.unexpected("response headers")
		}
		f.early = &f.message.head
	}
	f.responding = true
	f.response.ended = f.early.Ended
	if !f.request.forwarding {
		f.request.discarding = true
	}
	return *f.early, nil
}

// NextPiece waits for the next piece of the body under way.
func (f *front) NextPiece(context.Context) ([]byte, error) {
	current := f.current()
	if current.ended {
		return nil, io.EOF
	}
	if err := f.next(); err != nil {
		return nil, err
	}
	if f.message.kind == responseHeaders && !f.responding {
		early := f.message.head
		f.early = &early
		return nil, chain.ErrResponded
	}
	if f.direction() != current {
		return nil, f.unexpected("a piece of the body")
	}
	if current.trailers {
		return nil, io.EOF
	}
	return f.message.piece, nil
}

func (f *front) current() *direction {
	if f.responding {
		return &f.response
	}
	return &f.request
}

// SendHeaders answers the headers message.
func (f *front) SendHeaders(changes chain.Changes) error {
	message, err := headersAnswer(&changes, f.responding)
	if err != nil {
		return err
	}
	return f.send(message)
}

// SendPiece sends a piece of the body, in as many messages as it takes. Trailers close a body that came with them.
func (f *front) SendPiece(piece []byte, last bool) error {
	trailers := f.current().trailers
	for len(piece) > pieceSize {
		if err := f.send(pieceAnswer(piece[:pieceSize], false, f.responding)); err != nil {
			return err
		}
		piece = piece[pieceSize:]
	}
	if len(piece) > 0 || last && !trailers {
		if err := f.send(pieceAnswer(piece, last && !trailers, f.responding)); err != nil {
			return err
		}
	}
	if last && trailers {
		return f.send(trailersAnswer(f.responding))
	}
	return nil
}

// SendRest passes on what has not come yet.
func (f *front) SendRest() error {
	f.current().forwarding = true
	return nil
}

// Answer ends the exchange.
func (f *front) Answer(answer chain.Answer) error {
	message, err := immediateAnswer(&answer)
	if err != nil {
		return err
	}
	return f.send(message)
}
