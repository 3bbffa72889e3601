// Package grpcstream serves gRPC's bidirectional streams to a peer that opens one for each HTTP exchange, over a few
// connections that last: Envoy. It has what such a peer needs of gRPC, and no more: one method, messages as bytes, no
// compression, no metadata, no deadlines. The number of the peer's streams is not limited: Envoy limits that of its
// clients. What a stream keeps for its handler is, and so is what the peer has answered and does not read.
//
// A connection has two goroutines, one that reads and one that writes; a stream has one, which runs the handler. What
// streams send in the same breath goes out in one write.
//
// Sources: RFC 9113 (HTTP/2), and https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
package grpcstream

import (
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Handler serves one stream. Its error becomes the stream's status, by google.golang.org/grpc/status; nil is OK.
type Handler func(*Stream) error

// Server serves one method on any number of listeners.
type Server struct {
	method   string
	handler  Handler
	handlers sync.WaitGroup // that run

	mu          sync.Mutex
	stopping    bool
	listeners   map[net.Listener]struct{}
	connections map[*connection]struct{}
	gone        sync.Cond // a connection is no more
}

// NewServer makes a server of the method, as it stands in a path: "/package.Service/Method".
func NewServer(method string, handler Handler) *Server {
	s := &Server{method: method, handler: handler, listeners: map[net.Listener]struct{}{}, connections: map[*connection]struct{}{}}
	s.gone.L = &s.mu
	return s
}

// Serve takes connections, and returns nil when the server stops, or why the listener failed. It closes the listener.
func (s *Server) Serve(listener net.Listener) error {
	defer func() { _ = listener.Close() }()
	if !s.listen(listener) {
		return nil
	}
	for {
		socket, err := listener.Accept()
		switch {
		case err == nil:
			s.addConnection(socket)
		case isTemporary(err):
			time.Sleep(acceptPause)
		default:
			return s.unlessStopping(err)
		}
	}
}

// acceptPause keeps a lack of file descriptors, say, from being met with a storm of attempts.
const acceptPause = 10 * time.Millisecond

// isTemporary reports whether Accept may succeed again.
func isTemporary(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED},
		func(temporary error) bool { return errors.Is(err, temporary) })
}

func (s *Server) listen(listener net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[listener] = struct{}{}
	return !s.stopping
}

func (s *Server) unlessStopping(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	return err
}

func (s *Server) addConnection(socket net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		_ = socket.Close()
		return
	}
	c := newConnection(s, socket)
	s.connections[c] = struct{}{}
	go func() {
		c.run()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.connections, c)
		s.gone.Broadcast()
	}()
}

// run gives a stream its goroutine.
func (s *Server) run(stream *Stream) {
	s.handlers.Go(func() { stream.finish(s.handler(stream)) })
}

// Stop cuts off all streams, and returns when their handlers have.
func (s *Server) Stop() { s.stop((*connection).closeNow) }

// GracefulStop has peers open no more streams here, and returns when those under way have ended. Stop cuts it short.
func (s *Server) GracefulStop() { s.stop((*connection).drain) }

func (s *Server) stop(closeConnection func(*connection)) {
	s.mu.Lock()
	s.stopping = true
	for listener := range s.listeners {
		_ = listener.Close()
	}
	for c := range s.connections {
		closeConnection(c)
	}
	for len(s.connections) > 0 {
		s.gone.Wait()
	}
	s.mu.Unlock()
	s.handlers.Wait()
}
