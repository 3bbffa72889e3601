package grpcstream_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// async calls a function in a goroutine. The returned channel is closed when it has returned.
func async(call func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	return done
}

func TestGracefulStopLetsStreamsEnd(t *testing.T) {
	var ended atomic.Bool
	h := serve(t, func(stream *grpcstream.Stream) error {
		defer ended.Store(true)
		return echo(stream)
	})
	client := h.client(t)
	call := open(t, client)
	call.echoes("before")
	stopped := async(h.GracefulStop)
	if err := next(t, h.served); err != nil {
		t.Errorf("expected Serve to return nil, got %v", err)
	}
	h.served <- nil
	call.echoes("meanwhile")
	still(t, stopped, "GracefulStop to wait for a stream under way")
	call.close()
	expectCode(t, codes.OK, call.end())
	next(t, stopped)
	if !ended.Load() {
		t.Error("GracefulStop returned before the handler")
	}
	expectCode(t, codes.Unavailable, opening(t.Context(), h.client(t), method))
}

// TestGracefulStopOnTheWire: streams that the peer opens before it has read of the end are served.
func TestGracefulStopOnTheWire(t *testing.T) {
	var handlers atomic.Int32
	h := serve(t, func(stream *grpcstream.Stream) error {
		handlers.Add(1)
		return echo(stream)
	})
	p := h.dial(t)
	p.open(1)
	p.send(1, "one")
	p.expect(opened(1), "DATA 1: one")
	stopped := async(h.GracefulStop)
	p.expect("GOAWAY 2147483647: NO_ERROR", "PING: drain")
	p.open(3)
	p.exchange(3, "three")
	p.open(5)
	p.check(p.WritePing(true, [8]byte{'d', 'r', 'a', 'i', 'n'}))
	p.expect("GOAWAY 5: NO_ERROR")
	p.open(7)
	p.send(7, "seven")
	p.openAt(9, "/test.Service/Other", true)
	p.quiet()
	p.exchange(5, "five")
	still(t, stopped, "GracefulStop to wait for a stream under way")
	p.end(1)
	p.expect(done(1))
	p.closed()
	next(t, stopped)
	if got := handlers.Load(); got != 3 {
		t.Errorf("expected 3 streams to be served, got %d", got)
	}
}

func TestGracefulStopEndsIdleConnections(t *testing.T) {
	h := serve(t, echo)
	p := h.dial(t)
	p.open(1)
	p.exchange(1, "hello")
	stopped := async(h.GracefulStop)
	p.expect("GOAWAY 2147483647: NO_ERROR", "PING: drain")
	still(t, stopped, "GracefulStop to wait for the answer")
	p.check(p.WritePing(true, [8]byte{'d', 'r', 'a', 'i', 'n'}))
	p.expect("GOAWAY 1: NO_ERROR")
	p.closed()
	next(t, stopped)
}

// TestGracefulStopEndsWithAReset: a stream need not succeed.
func TestGracefulStopEndsWithAReset(t *testing.T) {
	h := serve(t, echo)
	p := h.dial(t)
	p.open(1)
	stopped := async(h.GracefulStop)
	p.expect("GOAWAY 2147483647: NO_ERROR", "PING: drain")
	p.check(p.WritePing(true, [8]byte{'d', 'r', 'a', 'i', 'n'}))
	p.expect("GOAWAY 1: NO_ERROR")
	p.reset(1)
	p.closed()
	next(t, stopped)
}

// TestGracefulStopBeforeTheGreeting: a server's first frame is its settings.
func TestGracefulStopBeforeTheGreeting(t *testing.T) {
	h := serve(t, echo)
	p := h.connect(t)
	h.dial(t) // connections are accepted in their order: p's has been, too
	stopped := async(h.GracefulStop)
	p.expect("SETTINGS INITIAL_WINDOW_SIZE=16384", "WINDOW_UPDATE 0: 8323073", "GOAWAY 2147483647: NO_ERROR", "PING: drain")
	h.Stop()
	next(t, stopped)
}

// held is a host whose handlers return only when the test lets them, even if their streams are cut off.
func held(t *testing.T) (h *host, cut <-chan error, may func()) {
	contexts, release := make(chan error, 1), make(chan struct{})
	h = serve(t, func(stream *grpcstream.Stream) error {
		if err := stream.Send([]byte("started"), nil); err != nil {
			return err
		}
		<-stream.Context().Done()
		contexts <- stream.Context().Err()
		<-release
		return nil
	})
	return h, contexts, func() { close(release) }
}

func TestStopCutsOff(t *testing.T) {
	h, cut, may := held(t)
	call := open(t, h.client(t))
	call.expect("started")
	stopped := async(h.Stop)
	expectCode(t, codes.Unavailable, call.end())
	if err := next(t, cut); err == nil {
		t.Error("expected the handler's context to be done")
	}
	still(t, stopped, "Stop to wait for the handler")
	may()
	next(t, stopped)
	expectCode(t, codes.Unavailable, opening(t.Context(), h.client(t), method))
}

func TestStopCutsGracefulStopShort(t *testing.T) {
	h, cut, may := held(t)
	p := h.dial(t)
	p.open(1)
	p.expect(opened(1), "DATA 1: started")
	gracefully := async(h.GracefulStop)
	p.expect("GOAWAY 2147483647: NO_ERROR", "PING: drain")
	stopped := async(h.Stop)
	p.closed()
	if err := next(t, cut); err == nil {
		t.Error("expected the handler's context to be done")
	}
	still(t, gracefully, "GracefulStop to wait for the handler")
	may()
	next(t, stopped)
	next(t, gracefully)
}

// TestStopCutsASendThatWaits: neither a peer without credit nor one that does not read delays it.
func TestStopCutsASendThatWaits(t *testing.T) {
	ended := make(chan error, 2)
	h := serve(t, reporting(ended, func(stream *grpcstream.Stream) error { return stream.Send(make([]byte, 8<<20), nil) }))
	p := h.dial(t, initialWindow(100))
	p.open(1)
	p.expect(opened(1), "DATA 1: 100 bytes")
	q := h.dial(t, initialWindow(1<<30))
	q.grant(0, 1<<30)
	q.open(1)
	q.expect(opened(1), "DATA 1: 16384 bytes") // and no more is read
	h.Stop()
	for range 2 {
		expectCode(t, codes.Canceled, next(t, ended))
	}
}

func TestStopTwice(t *testing.T) {
	h := serve(t, echo)
	h.dial(t).open(1)
	h.Stop()
	h.Stop()
	h.GracefulStop()
}

// ---------------------------------------------------------------- listeners

func TestServeOnAStoppedServer(t *testing.T) {
	h := serve(t, echo)
	h.Stop()
	listener := listen(t, h.path+"2")
	if err := h.Serve(listener); err != nil {
		t.Errorf("expected nil, got %v", err)
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("expected the listener to be closed, got %v", err)
	}
}

func TestTwoListeners(t *testing.T) {
	h := serve(t, echo)
	second := &host{Server: h.Server, path: h.path + "2"}
	listener, served := listen(t, second.path), make(chan error, 1)
	go func() { served <- h.Serve(listener) }()
	for _, p := range []*peer{h.dial(t), second.dial(t)} {
		p.open(1)
		p.exchange(1, "hello")
	}
	h.Stop()
	if err := next(t, served); err != nil {
		t.Errorf("expected nil, got %v", err)
	}
}

// brokenListener accepts no connection.
type brokenListener struct {
	net.Listener
	closed bool
}

var errBroken = errors.New("broken")

func (l *brokenListener) Accept() (net.Conn, error) { return nil, errBroken }

func (l *brokenListener) Close() error {
	l.closed = true
	return nil
}

// lateListener has one connection, before which its server stops.
type lateListener struct {
	net.Listener
	stop func()
	conn net.Conn
}

func (l *lateListener) Close() error { return nil }

func (l *lateListener) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	l.stop()
	conn := l.conn
	l.conn = nil
	return conn, nil
}

func TestConnectionThatComesTooLate(t *testing.T) {
	ours, theirs := net.Pipe()
	server := grpcstream.NewServer(method, echo)
	if err := server.Serve(&lateListener{stop: server.Stop, conn: theirs}); err != nil {
		t.Errorf("expected nil, got %v", err)
	}
	_ = ours.SetDeadline(time.Now().Add(await.Limit))
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("expected the connection to be closed, got %v", err)
	}
}

func TestServeReturnsWhyItsListenerFailed(t *testing.T) {
	listener := &brokenListener{}
	if err := grpcstream.NewServer(method, echo).Serve(listener); !errors.Is(err, errBroken) {
		t.Errorf("expected %v, got %v", errBroken, err)
	}
	if !listener.closed {
		t.Error("expected the listener to be closed")
	}
}

// shortListener has no file descriptor for the first connection.
type shortListener struct {
	brokenListener
	asked int
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.asked++; l.asked == 1 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return nil, errBroken
}

func TestALackOfFileDescriptorsPasses(t *testing.T) {
	listener := &shortListener{}
	if err := grpcstream.NewServer(method, echo).Serve(listener); !errors.Is(err, errBroken) || listener.asked != 2 {
		t.Errorf("expected the second error, got %v at attempt %d", err, listener.asked)
	}
}
