package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/contentcoding"
	"gatewright.dev/policy-engine/internal/extproc/demux"
	"gatewright.dev/sdk/policy/v1alpha"
)

// An attempt is the request to one of several upstreams. A filter of the upstream's cluster sends the answer here before
// Envoy decides whether the next upstream is asked: an event stream whose first event is an error becomes a 502.

// isAttempt reports whether a stream's first message is the head of an attempt's answer. All other streams begin with a
// request, or with the refusal of one, which names no cluster.
func isAttempt(first []byte) bool {
	if len(first) == 0 || first[0] != byte(responseHeaders) {
		return false
	}
	var message incoming
	return message.decode(first) == nil && message.cluster != ""
}

// attempt is the stream of one answer.
type attempt struct {
	stream  Stream
	message incoming
	head    chain.Head
	held    [][]byte  // pieces of the body that have not been sent on
	size    int       // of these
	rest    *incoming // what has ended the body: its last piece is among the held ones, or trailers; nil: it goes on
}

// serveAttempt serves the stream that begins with the message.
func serveAttempt(stream Stream, first []byte) error {
	a := &attempt{stream: stream}
	err := a.message.decode(first)
	if err == nil {
		a.head = a.message.Head
		err = a.serve()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil // Envoy has asked the next upstream, or the client has left
	}
	return toStatus(err)
}

func (a *attempt) serve() error {
	changes := &chain.Changes{}
	if a.isEventStream() {
		failed, err := a.firstEventFails()
		if err != nil {
			return err
		}
		if failed {
			changes.Status = http.StatusBadGateway
			changes.Headers.Set = v1alpha.Headers{{Name: envoynames.FirstEventHeader, Value: "error"}}
		}
	}
	if err := a.sendHead(changes); err != nil {
		return err
	}
	return a.echoRest()
}

// isEventStream reports whether the answer has events to wait for.
func (a *attempt) isEventStream() bool {
	kind, _, _ := strings.Cut(a.head.Headers.Get("content-type"), ";")
	return a.head.Status == http.StatusOK && !a.message.Ended && strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// firstEventFails holds the answer until its first event has come. An answer that cannot be decoded goes on as it is.
func (a *attempt) firstEventFails() (bool, error) {
	codings, err := contentcoding.ParseCodings(a.head.Headers.Values("content-encoding"))
	if err != nil {
		return false, nil //nolint:nilerr // see above
	}
	next := a.nextPiece
	if len(codings) > 0 {
		decoder := contentcoding.NewDecoder(codings, a.nextPiece)
		defer decoder.Close()
		next = decoder.Next
	}
	var events firstEvent
	for {
		piece, err := next()
		var undecodable *contentcoding.Error
		switch {
		case errors.Is(err, errHeldEnough), errors.As(err, &undecodable):
			return false, nil
		case errors.Is(err, io.EOF):
			return events.end(), nil
		case err != nil:
			return false, err
		case events.add(piece):
			return events.failed, nil
		}
	}
}

// maxHeld is how much of an answer waits for the end of its first event; one that is longer goes on.
const maxHeld = 256 << 10

var errHeldEnough = errors.New("the first event is longer than what is held")

// nextPiece receives a piece of the body and holds it; io.EOF behind the last one.
func (a *attempt) nextPiece() ([]byte, error) {
	switch {
	case a.rest != nil:
		return nil, io.EOF
	case a.size > maxHeld:
		return nil, errHeldEnough
	}
	if err := a.receive(); err != nil {
		return nil, err
	}
	if a.message.Ended || a.message.Kind == demux.ResponseTrailers {
		rest := a.message
		a.rest = &rest
	}
	if a.message.Kind == demux.ResponseTrailers {
		return nil, io.EOF
	}
	piece := a.message.Piece
	a.held, a.size = append(a.held, piece), a.size+len(piece)
	a.stream.Keep(len(piece))
	return piece, nil
}

func (a *attempt) receive() error {
	message, err := a.stream.Receive(a.stream.Context())
	if err != nil {
		return err
	}
	if err := a.message.decode(message); err != nil {
		return err
	}
	if a.message.Kind != demux.ResponseBody && a.message.Kind != demux.ResponseTrailers {
		return a.message.Unexpected("the body or trailers of an answer")
	}
	return nil
}

// sendHead sends the head, and all that has been held.
func (a *attempt) sendHead(changes *chain.Changes) error {
	head, err := headersAnswer(changes, "", true)
	if err != nil {
		return err
	}
	if err := a.send(head); err != nil {
		return err
	}
	for n, piece := range a.held {
		last := n == len(a.held)-1 && a.rest != nil && a.rest.Kind == demux.ResponseBody
		if err := a.send(pieceAnswer(piece, last, true)); err != nil {
			return err
		}
	}
	a.stream.Keep(-a.size)
	a.held, a.size = nil, 0
	if a.rest != nil && a.rest.Kind == demux.ResponseTrailers {
		return a.send(echo(a.rest))
	}
	return nil
}

// echoRest sends on what is still to come, as it comes.
func (a *attempt) echoRest() error {
	ended := a.message.Ended || a.rest != nil
	for !ended {
		if err := a.receive(); err != nil {
			return err
		}
		if err := a.send(echo(&a.message)); err != nil {
			return err
		}
		ended = a.message.Ended || a.message.Kind == demux.ResponseTrailers
	}
	return nil
}

func (a *attempt) send(out outgoing) error { return a.stream.Send(out.head, out.body) }

// attempts writes the upstreams of a request in their order, which Envoy's cluster specifier reads, and what each has for
// itself, for the filter of their clusters.
func (b *builder) attempts(attempts []v1alpha.Attempt) error {
	if len(attempts) == 0 {
		return nil
	}
	order, own := make([]any, 0, len(attempts)), make([]any, 0, len(attempts))
	for _, attempt := range attempts {
		order = append(order, map[string]any{"name": attempt.Upstream})
		own = append(own, attemptValue(attempt))
	}
	values, err := structpb.NewStruct(map[string]any{
		envoynames.OrderNamespace:    map[string]any{"priority_groups": order},
		envoynames.AttemptsNamespace: map[string]any{"attempts": own},
		envoynames.UpstreamNamespace: map[string]any{envoynames.ChosenValueKey: envoynames.FailoverChoice},
	})
	if err != nil {
		return fmt.Errorf("attempts: %w", err)
	}
	*b, err = proto.MarshalOptions{}.MarshalAppend(*b, &servicev3.ProcessingResponse{DynamicMetadata: values})
	return err
}

func attemptValue(attempt v1alpha.Attempt) map[string]any {
	headers := make([]any, 0, len(attempt.Set))
	for _, header := range attempt.Set {
		headers = append(headers, map[string]any{"name": strings.ToLower(header.Name), "value": header.Value})
	}
	value := map[string]any{"upstream": attempt.Upstream, "headers": headers}
	if attempt.Path != nil {
		value["path"] = *attempt.Path
	}
	if attempt.Body != nil {
		value["body"] = string(*attempt.Body)
	}
	return value
}
