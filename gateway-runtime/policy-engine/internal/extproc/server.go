// Package extproc is the chain's front end to Envoy: an ext_proc server. It is the only package that knows Envoy's
// external processing protocol.
//
// Envoy is expected to be configured as ARCHITECTURE.md says under "Requests": request headers always sent, bodies by
// FULL_DUPLEX_STREAMED with trailers, nothing sent that the chain's mode does not ask for.
//
// It fails closed. To Envoy the clean end of a stream means "go on without me", so Process returns nil only after the
// last phase that the chain needs; everything else is an error.
package extproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// Server answers Envoy's ext_proc streams, one for each HTTP exchange.
type Server struct {
	table *chain.Table

	exchanges, unknownChain, cancelled, failed atomic.Uint64
	active                                     atomic.Int64
}

// NewServer makes a server that finds its chains in table.
func NewServer(table *chain.Table) *Server { return &Server{table: table} }

// Stream is one ext_proc stream: messages, encoded.
type Stream interface {
	// Context is done when nobody waits for the exchange any more.
	Context() context.Context
	// Receive waits for the next message, which is the caller's to keep; io.EOF after the last.
	Receive() ([]byte, error)
	// Send sends a message in two parts, and keeps neither.
	Send(message, rest []byte) error
}

// GRPC makes a gRPC server of it.
func (s *Server) GRPC() *grpcstream.Server {
	return grpcstream.NewServer(servicev3.ExternalProcessor_Process_FullMethodName, s.serve)
}

func (s *Server) serve(stream *grpcstream.Stream) error { return s.Process(stream) }

// Stats are the server's counters since it was made.
type Stats struct {
	Exchanges    uint64 `json:"exchanges"`
	Active       int64  `json:"active"`
	UnknownChain uint64 `json:"unknownChain"` // answered 503
	Cancelled    uint64 `json:"cancelled"`    // the client went away
	Failed       uint64 `json:"failed"`       // ended with an error: a fault of the engine's or Envoy's
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Exchanges: s.exchanges.Load(), Active: s.active.Load(), UnknownChain: s.unknownChain.Load(),
		Cancelled: s.cancelled.Load(), Failed: s.failed.Load(),
	}
}

// Process takes one HTTP exchange through its chain.
func (s *Server) Process(stream Stream) (err error) {
	s.exchanges.Add(1)
	s.active.Add(1)
	defer s.active.Add(-1)
	front := &front{stream: stream}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
		err = s.closed(stream.Context(), front, err)
	}()
	if err := front.begin(); err != nil {
		return err
	}
	if front.refusal != 0 {
		return front.answerProblem(front.refusal, "The gateway refused the request.", "proxy_refused")
	}
	c, ok := s.table.Acquire(front.chainID)
	if !ok {
		return s.answerUnknown(front)
	}
	defer c.Release()
	return run(stream.Context(), c, front)
}

func run(ctx context.Context, c *chain.Chain, front *front) error {
	if err := front.checkModes(c.Mode()); err != nil {
		return err
	}
	if err := c.Run(ctx, front); err != nil {
		return err
	}
	return front.finish()
}

// answerUnknown ends an exchange whose route names a chain that the engine does not have.
func (s *Server) answerUnknown(front *front) error {
	s.unknownChain.Add(1)
	slog.Error("unknown chain", "requestId", front.head.RequestID, "chain", front.chainID, "route", front.route)
	return front.answerProblem(http.StatusServiceUnavailable, "The gateway is not ready for this route.", "unknown_chain")
}

// closed makes err the status of the stream: nil, or an error that Envoy fails the request with.
func (s *Server) closed(ctx context.Context, front *front, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil || errors.Is(err, errEnded) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		s.cancelled.Add(1)
		return status.Error(codes.Canceled, "the exchange ended before its chain")
	}
	s.failed.Add(1)
	slog.Error("exchange failed", "requestId", front.head.RequestID, "chain", front.chainID, "reason", err.Error())
	return status.Error(codes.Internal, "exchange failed")
}
