// Package grpcstream serves bidirectional gRPC streams to a peer that opens one for each HTTP exchange, over a few
// long-lived connections: Envoy. It implements only the part of gRPC that such a peer needs: one method, messages as
// bytes, no compression, no metadata but the authority, no deadlines. The number of streams is not limited here, since Envoy limits that
// of its clients. The bytes that a stream holds for its handler are limited, and so are replies that the peer does not
// read.
//
// A connection has two goroutines, a reader and a writer; a stream has one, which runs the handler, and then those of
// other streams. Messages that streams send at the same time go out in one write.
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
	handlers sync.WaitGroup // goroutines that run handlers

	keepsAuthority bool // of streams

	mu          sync.Mutex
	stopping    bool
	listeners   map[net.Listener]struct{}
	connections map[*connection]struct{}
	ended       sync.Cond // a connection has ended
}

// NewServer makes a server of the method, in the form of its path: "/package.Service/Method".
func NewServer(method string, handler Handler) *Server {
	s := &Server{method: method, handler: handler, listeners: map[net.Listener]struct{}{}, connections: map[*connection]struct{}{}}
	s.ended.L = &s.mu
	return s
}

// KeepAuthority makes streams know their authority. It is called before Serve.
func (s *Server) KeepAuthority() { s.keepsAuthority = true }

// Serve accepts connections, and returns nil when the server stops, or the error of the listener. It closes the
// listener.
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
			return s.errUnlessStopping(err)
		}
	}
}

// acceptPause avoids a busy loop while file descriptors are exhausted, for example.
const acceptPause = 10 * time.Millisecond

// isTemporary reports whether Accept may succeed on a later call.
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

func (s *Server) errUnlessStopping(err error) error {
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
		s.ended.Broadcast()
	}()
}

// Stop cuts off all streams, and returns when their handlers have returned.
func (s *Server) Stop() { s.stop((*connection).closeNow) }

// GracefulStop asks peers to open no more streams, and returns when those under way have ended. Stop cuts it short.
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
		s.ended.Wait()
	}
	s.mu.Unlock()
	s.handlers.Wait()
}
