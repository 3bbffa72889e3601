package grpcstream_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// method is that of all servers here.
const method = "/test.Service/Call"

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // violations of the rules are logged, and made here on purpose
	goleak.VerifyTestMain(m)
}

// host is a server that is serving.
type host struct {
	*grpcstream.Server
	path   string
	served chan error
}

// serve starts a server, which is stopped at the end of the test.
func serve(t testing.TB, handler grpcstream.Handler) *host {
	return serveAs(t, handler, func(*grpcstream.Server) {})
}

// serveAs is serve with a setting of the server.
func serveAs(t testing.TB, handler grpcstream.Handler, set func(*grpcstream.Server)) *host {
	h := &host{Server: grpcstream.NewServer(method, handler), path: filepath.Join(t.TempDir(), "s"), served: make(chan error, 1)}
	set(h.Server)
	listener := listen(t, h.path)
	go func() { h.served <- h.Serve(listener) }()
	t.Cleanup(func() {
		h.Stop()
		if err := next(t, h.served); err != nil {
			t.Errorf("expected Serve to return nil, got %v", err)
		}
	})
	return h
}

func listen(t testing.TB, path string) net.Listener {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// next waits for a channel's next value.
func next[T any](t tester, from <-chan T) T {
	t.Helper()
	return await.Receive(t, from, "a value of the channel")
}

// still fails if a channel has a value already.
func still[T any](t tester, from <-chan T, what string) {
	t.Helper()
	select {
	case value := <-from:
		t.Fatalf("expected %s, got %v", what, value)
	default:
	}
}

// expectCode fails unless the error has the code.
func expectCode(t tester, want codes.Code, err error) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("expected %v, got %v", want, err)
	}
}

// ---------------------------------------------------------------- handlers

// each calls a function with each message, until the last.
func each(stream *grpcstream.Stream, use func([]byte) error) error {
	for {
		message, err := stream.Receive(stream.Context())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := use(message); err != nil {
			return err
		}
	}
}

func echo(stream *grpcstream.Stream) error {
	return each(stream, func(message []byte) error { return stream.Send(message[:len(message)/2], message[len(message)/2:]) })
}

// sink receives all, and sends nothing.
func sink(stream *grpcstream.Stream) error {
	return each(stream, func([]byte) error { return nil })
}

// idle neither receives nor sends until the stream is cut off.
func idle(stream *grpcstream.Stream) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

// holdUntil waits until a handler may go on, or its stream is cut off.
func holdUntil(stream *grpcstream.Stream, may <-chan struct{}) {
	select {
	case <-may:
	case <-stream.Context().Done():
	}
}

// reporting is a handler that passes on another handler's result.
func reporting(to chan<- error, handler grpcstream.Handler) grpcstream.Handler {
	return func(stream *grpcstream.Stream) error {
		err := handler(stream)
		to <- err
		return err
	}
}
