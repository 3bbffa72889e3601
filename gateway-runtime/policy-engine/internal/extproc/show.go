package extproc

import (
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"

	"gatewright.dev/policy-engine/internal/chain"
)

// A response that the chain does not see, but somebody who looks at the exchange: Envoy is asked for its headers with the
// answer to the request's, by a mode of this exchange alone. They are answered as soon as they have come, by whoever receives.

// show is told of such a response.
type show func(side chain.Side, response chain.Head)

// ShowResponse has the response shown.
func (f *front) ShowResponse(show func(side chain.Side, response chain.Head)) { f.show = show }

// The fields of ProcessingMode. That of the mode itself is one of ProcessingResponse.
const (
	modeOverride        = protowire.Number(9)
	requestHeaderMode   = protowire.Number(1)
	responseHeaderMode  = protowire.Number(2)
	requestBodyMode     = protowire.Number(3)
	requestTrailerMode  = protowire.Number(5)
	responseTrailerMode = protowire.Number(6)
)

// askForResponse has the answer to the request's headers ask for those of the response. The new mode replaces all of the
// old one: the request's body, of which Envoy has sent this mode, goes on as it has begun, with trailers where there is one.
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
	message.head = append(b, message.head...) // the body, where there is one, is the last field
}

// passResponse lets the response that has come go on, and shows it. The caller holds the mutex, and receives.
//
//go:noinline
func (f *front) passResponse() error {
	err := f.passShown(f.response)
	if err == nil {
		f.showing = false
	}
	return err
}

func (f *front) passShown(response chain.Head) error {
	f.mu.Unlock()
	defer f.mu.Lock()
	f.show(chain.Came, response)
	changes := chain.Changes{}
	if f.answered {
		changes = withoutProxyAnswer(changes)
	}
	message, err := headersAnswer(&changes, true)
	if err == nil {
		err = f.send(message)
	}
	if err == nil {
		f.show(chain.Left, response)
	}
	return err
}
