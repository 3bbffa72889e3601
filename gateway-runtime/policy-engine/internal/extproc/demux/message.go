package demux

import (
	"fmt"

	"gatewright.dev/policy-engine/internal/chain"
)

// Message is a message from Envoy.
type Message struct {
	Kind     Kind
	Head     chain.Head // of headers
	Piece    []byte     // of a body
	Trailers string     // encoded, since few chains read them
	Ended    bool       // of headers and pieces: no message follows
}

// Kind is what a message carries.
type Kind uint8

// The kinds.
const (
	Nothing Kind = iota
	RequestHeaders
	ResponseHeaders
	RequestBody
	ResponseBody
	RequestTrailers
	ResponseTrailers
)

func (k Kind) String() string {
	return [...]string{
		"nothing", "request headers", "response headers", "a piece of the request body", "a piece of the response body", "request trailers", "response trailers",
	}[k]
}

// Direction is the direction of the message that it is a part of.
func (m *Message) Direction() chain.Direction {
	switch m.Kind {
	case ResponseHeaders, ResponseBody, ResponseTrailers:
		return chain.Response
	}
	return chain.Request
}

// Last reports whether no message of its direction follows.
func (m *Message) Last() bool { return m.Ended || m.isTrailers() }

func (m *Message) isTrailers() bool { return m.Kind == RequestTrailers || m.Kind == ResponseTrailers }

// Unexpected is the error of a message that may not come now.
func (m *Message) Unexpected(want string) error {
	return fmt.Errorf("ext_proc: expected %s, got %s", want, m.Kind)
}
