package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// pieceSize is how much of a body goes to Envoy in one message.
const pieceSize = 64 << 10

// front is one ext_proc stream as the chain's front end.
type front struct {
	stream servicev3.ExternalProcessor_ProcessServer
	first  *servicev3.ProcessingRequest
	early  *servicev3.HttpHeaders // response headers that came before the request had come in

	head           chain.Head
	route, chainID string
	refusal        int // the status of Envoy's own answer, where no request came

	request, response direction
	responding        bool // the chain has asked for the response
}

// direction is how far the body of one direction has come.
type direction struct {
	ended    bool // its last message has come
	trailers bool // that was trailers
	passing  bool // what still comes is sent on as it is
	dropped  bool // what still comes is of no interest: Envoy has answered the request
}

func unexpected(want string, got *servicev3.ProcessingRequest) error {
	return fmt.Errorf("ext_proc: expected %s, got %T", want, got.GetRequest())
}

// begin takes in the request headers. Where Envoy refused a request before its filters saw it (an upgrade), the refusal
// comes in their place: then refusal is its status.
func (f *front) begin() error {
	message, err := f.receive()
	if err != nil {
		return err
	}
	if own := message.GetResponseHeaders(); own != nil {
		if f.refusal = headOf(own).Status; f.refusal >= http.StatusBadRequest {
			return nil
		}
	}
	headers := message.GetRequestHeaders()
	if headers == nil {
		return unexpected("request headers first", message)
	}
	f.first = message
	f.head = headOf(headers)
	f.request.ended = headers.GetEndOfStream()
	f.readAttributes(message.GetAttributes())
	return nil
}

// checkModes refuses a route whose body modes are not those the chain needs: its policies would be passed by.
func (f *front) checkModes(mode v1alpha.ProcessingModeConfig) error {
	config := f.first.GetProtocolConfig()
	if err := checkBodyMode("request", mode.WantsRequestBody(), config.GetRequestBodyMode()); err != nil {
		return err
	}
	return checkBodyMode("response", mode.WantsResponseBody(), config.GetResponseBodyMode())
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

// ---------------------------------------------------------------- receiving

// errEnded says that Envoy has closed the stream, which is no proper end of a message.
var errEnded = errors.New("ext_proc: Envoy has ended the stream")

func (f *front) receive() (*servicev3.ProcessingRequest, error) {
	message, err := f.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, errEnded
	}
	return message, err
}

// next gives the next message that is not to be passed on or dropped.
func (f *front) next() (*servicev3.ProcessingRequest, error) {
	for {
		message, err := f.receive()
		if err != nil {
			return nil, err
		}
		if handled, err := f.pass(message); !handled || err != nil {
			return message, err
		}
	}
}

// pass takes care of a piece or trailers that the chain does not read.
func (f *front) pass(message *servicev3.ProcessingRequest) (bool, error) {
	d := f.directionOf(message)
	if d == nil {
		return false, nil
	}
	d.note(message)
	if d.passing {
		return true, f.stream.Send(echo(message))
	}
	return d.dropped, nil
}

// directionOf is the direction that a piece or trailers belong to, nil for headers.
func (f *front) directionOf(message *servicev3.ProcessingRequest) *direction {
	switch message.GetRequest().(type) {
	case *servicev3.ProcessingRequest_RequestBody, *servicev3.ProcessingRequest_RequestTrailers:
		return &f.request
	case *servicev3.ProcessingRequest_ResponseBody, *servicev3.ProcessingRequest_ResponseTrailers:
		return &f.response
	}
	return nil
}

func (d *direction) note(message *servicev3.ProcessingRequest) {
	switch m := message.GetRequest().(type) {
	case *servicev3.ProcessingRequest_RequestTrailers, *servicev3.ProcessingRequest_ResponseTrailers:
		d.ended, d.trailers = true, true
	case *servicev3.ProcessingRequest_RequestBody:
		d.ended = m.RequestBody.GetEndOfStream()
	case *servicev3.ProcessingRequest_ResponseBody:
		d.ended = m.ResponseBody.GetEndOfStream()
	}
}

// finish waits until what passes on has passed.
func (f *front) finish() error {
	for f.request.passing && !f.request.ended || f.response.passing && !f.response.ended {
		message, err := f.receive()
		if err != nil {
			return err
		}
		if handled, err := f.pass(message); err != nil {
			return err
		} else if !handled {
			return unexpected("the rest of a body", message)
		}
	}
	return nil
}

// ---------------------------------------------------------------- chain.FrontEnd

// Request is the request's head.
func (f *front) Request() chain.Head { return f.head }

// Response waits for the response headers.
func (f *front) Response(context.Context) (chain.Head, error) {
	headers := f.early
	if headers == nil {
		message, err := f.next()
		if err != nil {
			return chain.Head{}, err
		}
		if headers = message.GetResponseHeaders(); headers == nil {
			return chain.Head{}, unexpected("response headers", message)
		}
	}
	f.responding = true
	f.response.ended = headers.GetEndOfStream()
	if !f.request.passing {
		f.request.dropped = true
	}
	return headOf(headers), nil
}

// NextPiece waits for the next piece of the body under way.
func (f *front) NextPiece(context.Context) ([]byte, error) {
	current := f.current()
	if current.ended {
		return nil, io.EOF
	}
	message, err := f.next()
	if err != nil {
		return nil, err
	}
	if early := message.GetResponseHeaders(); early != nil && !f.responding {
		f.early = early
		return nil, chain.ErrResponded
	}
	if f.directionOf(message) != current {
		return nil, unexpected("a piece of the body", message)
	}
	if current.trailers {
		return nil, io.EOF
	}
	if f.responding {
		return message.GetResponseBody().GetBody(), nil
	}
	return message.GetRequestBody().GetBody(), nil
}

func (f *front) current() *direction {
	if f.responding {
		return &f.response
	}
	return &f.request
}

// SendHeaders answers the headers message.
func (f *front) SendHeaders(changes chain.Changes) error {
	response, err := f.headersAnswer(changes)
	if err != nil {
		return err
	}
	return f.stream.Send(response)
}

// SendPiece sends a piece of the body, in as many messages as it takes. Trailers close a body that came with them.
func (f *front) SendPiece(piece []byte, last bool) error {
	trailers := f.current().trailers
	for len(piece) > pieceSize {
		if err := f.stream.Send(f.pieceAnswer(piece[:pieceSize], false)); err != nil {
			return err
		}
		piece = piece[pieceSize:]
	}
	if len(piece) > 0 || last && !trailers {
		if err := f.stream.Send(f.pieceAnswer(piece, last && !trailers)); err != nil {
			return err
		}
	}
	if last && trailers {
		return f.stream.Send(trailersAnswer(f.responding))
	}
	return nil
}

// SendRest passes on what has not come yet.
func (f *front) SendRest() error {
	f.current().passing = true
	return nil
}

// Answer ends the exchange.
func (f *front) Answer(answer chain.Answer) error {
	response, err := immediateAnswer(answer)
	if err != nil {
		return err
	}
	return f.stream.Send(response)
}

// answerProblem ends an exchange that has no chain.
func (f *front) answerProblem(status int, detail, details string) error {
	problem := chain.Problem(status, detail, f.head.RequestID)
	return f.Answer(chain.Answer{
		Status: status, Headers: v1alpha.Headers(problem.Headers), Body: problem.Body, Details: details,
	})
}
