// Package extproc is the chain's front end to Envoy: an ext_proc server. It is the only package that knows Envoy's
// external processing protocol.
//
// Envoy is expected to be configured as ARCHITECTURE.md says under "Requests": request headers always sent, bodies by
// FULL_DUPLEX_STREAMED with trailers, nothing sent that the chain's mode does not ask for.
//
// It fails closed. To Envoy the clean end of a stream means "go on without me", so Process returns nil only where
// exchange.Server does; everything else is an error.
package extproc

import (
	"context"
	"errors"
	"log/slog"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/internal/clientcert"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// Server answers Envoy's ext_proc streams, one for each HTTP exchange.
type Server struct {
	exchanges *exchange.Server
	peers     *clientcert.Cache
	redact    RedactAnalytics
	proxy     *proxyAnswers
	attached  bool // the Envoys are not the node's own
}

// RedactAnalytics returns analytics metadata without secrets.
type RedactAnalytics func(analytics map[string]any) map[string]any

// NewServer makes a server whose streams run through exchanges. If redact is nil, analytics go to Envoy, and so to the
// access log, as policies have left them.
func NewServer(exchanges *exchange.Server, redact RedactAnalytics, log *slog.Logger) *Server {
	return &Server{exchanges, clientcert.NewCache(log), redact, newProxyAnswers(), false}
}

// NewAttachedServer makes a server for Envoys that are not the node's own, whose streams run through exchanges, which is an
// attached server too.
func NewAttachedServer(exchanges *exchange.Server, log *slog.Logger) *Server {
	return &Server{exchanges, clientcert.NewCache(log), nil, newProxyAnswers(), true}
}

// Stream is one ext_proc stream: messages, encoded.
type Stream interface {
	// Context is cancelled when Envoy cancels the stream.
	Context() context.Context
	// Receive waits for the next message, which the caller may keep; io.EOF follows the last one. Only one goroutine at a
	// time waits. If ctx is done first, no message is lost.
	Receive(ctx context.Context) ([]byte, error)
	// Keep adds more to the received bytes that wait for their use; they stay outside of the flow-control window. A
	// negative number gives bytes back.
	Keep(more int)
	// Send sends a message in two parts, and keeps neither.
	Send(message, rest []byte) error
}

// GRPC returns a gRPC server that serves s.
func (s *Server) GRPC() *grpcstream.Server {
	if !s.attached {
		return grpcstream.NewServer(servicev3.ExternalProcessor_Process_FullMethodName, s.serve)
	}
	server := grpcstream.NewServer(servicev3.ExternalProcessor_Process_FullMethodName, s.serveAttached)
	server.KeepAuthority()
	return server
}

// serve serves an exchange, or the answer of one attempt, whose first message is of another kind.
func (s *Server) serve(stream *grpcstream.Stream) error {
	first, err := stream.Receive(stream.Context())
	if err != nil {
		return s.Process(&begun{Stream: stream, err: err})
	}
	if isAttempt(first) {
		return serveAttempt(stream, first)
	}
	return s.Process(&begun{Stream: stream, first: first})
}

// begun is a stream whose first message has been received already.
type begun struct {
	Stream
	first []byte
	err   error
}

func (b *begun) Receive(ctx context.Context) ([]byte, error) {
	if first, err := b.first, b.err; first != nil || err != nil {
		b.first, b.err = nil, nil
		return first, err
	}
	return b.Stream.Receive(ctx)
}

func (s *Server) serveAttached(stream *grpcstream.Stream) error {
	front := &attachedFront{front: front{stream: stream, peers: s.peers, proxy: s.proxy, other: true}, authority: stream.Authority()}
	return toStatus(s.exchanges.Serve(stream.Context(), front))
}

// Process runs one HTTP exchange through its chain. An error becomes the status of the stream, and Envoy fails the
// request.
func (s *Server) Process(stream Stream) error { return s.Find(stream).Run() }

// Exchange is one HTTP exchange whose chain has been found.
type Exchange struct {
	server *exchange.Server
	front  front
	found  exchange.Found
}

// Find is the first part of Process: it waits for the stream's first message, and finds the exchange's chain. Run must
// follow, even if the exchange cannot go on.
func (s *Server) Find(stream Stream) *Exchange {
	x := &Exchange{server: s.exchanges, front: front{stream: stream, peers: s.peers, redact: s.redact, proxy: s.proxy}}
	s.exchanges.Find(stream.Context(), &x.front, &x.found)
	return x
}

// NeverWaits reports whether Run waits for nothing but the stream's messages.
func (x *Exchange) NeverWaits() bool { return x.found.NeverWaits() }

// Run is the rest of Process.
func (x *Exchange) Run() error {
	return toStatus(x.server.Run(x.front.stream.Context(), &x.front, &x.found))
}

func toStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exchange.ErrCancelled):
		return status.Error(codes.Canceled, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
