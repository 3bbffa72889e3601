package extproc

import (
	"context"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"

	"gatewright.dev/policy-engine/internal/chain"
)

// A watched exchange may have a response that the chain does not need: then the answer to the request's headers asks
// Envoy for the response's headers, by a mode override of this exchange alone. The receiving goroutine answers them as
// soon as they come.

// show receives such a response.
type show func(side chain.Side, response chain.Head)

// ShowResponse has show called with the response.
func (f *front) ShowResponse(show func(side chain.Side, response chain.Head)) { f.show = show }

// The fields of ProcessingMode, and that of the mode in ProcessingResponse.
const (
	modeOverride        = protowire.Number(9)
	requestHeaderMode   = protowire.Number(1)
	responseHeaderMode  = protowire.Number(2)
	requestBodyMode     = protowire.Number(3)
	requestTrailerMode  = protowire.Number(5)
	responseTrailerMode = protowire.Number(6)
)

// askForResponse makes the answer to the request's headers ask for the response's. The new mode replaces the old one as
// a whole: the request's body, which came with that body mode, goes on as it has begun, with trailers if there is a
// body.
//
//go:noinline
func askForResponse(message *outgoing, body filterv3.ProcessingMode_BodySendMode) {
	b := make(builder, 0, 16+len(message.head))
	mode := b.open(modeOverride)
	b.varint(requestHeaderMode, uint64(filterv3.ProcessingMode_SEND))
	b.varint(responseHeaderMode, uint64(filterv3.ProcessingMode_SEND))
	trailers := filterv3.ProcessingMode_SKIP
	if body != filterv3.ProcessingMode_NONE {
		b.varint(requestBodyMode, uint64(body)) //nolint:gosec // an enum's number
		trailers = filterv3.ProcessingMode_SEND
	}
	b.varint(requestTrailerMode, uint64(trailers)) //nolint:gosec // an enum's number
	b.varint(responseTrailerMode, uint64(filterv3.ProcessingMode_SKIP))
	b.close(mode)
	message.head = append(b, message.head...) // the body, if any, is the last field
}

// passResponse lets the response that has come go on, and shows it.
//
//go:noinline
func (f *front) passResponse(ctx context.Context, response *chain.Head) error {
	f.show(chain.Came, *response)
	changes := chain.Changes{}
	if f.answered {
		changes = withoutProxyAnswer(changes)
	}
	message, err := headersAnswer(&changes, "", true)
	if err == nil {
		err = f.send(message)
	}
	if err == nil && f.other {
		err = f.passRest(ctx, chain.Response)
	}
	if err == nil {
		f.show(chain.Left, *response)
	}
	return err
}
