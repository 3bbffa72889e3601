package grpcstream

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// goAwayTimeout is how long a peer that has violated the protocol may take to read the reason before the connection
// ends.
const goAwayTimeout = time.Second

// connection is one HTTP/2 connection.
type connection struct {
	server *Server
	socket net.Conn

	mu       sync.Mutex // guards the fields below, and the streams
	streams  map[uint32]*Stream
	lastID   uint32 // of the opened streams
	received int    // bytes of data since the peer last got credit for the connection
	leaving  bool   // the peer was asked to open no more streams
	draining bool   // and has acknowledged that
	agreed   bool   // the peer has acknowledged the settings
	workers  workers
	out      outbox
}

func newConnection(server *Server, socket net.Conn) *connection {
	c := &connection{server: server, socket: socket, streams: map[uint32]*Stream{}}
	c.out = newOutbox(&c.mu)
	c.out.appendSetting(http2.SettingInitialWindowSize, firstWindow) // before anything else (RFC 9113, 3.4)
	c.out.appendWindowUpdate(0, connectionWindow-defaultWindow)
	return c
}

// run serves the connection until it ends, and then ends its streams.
func (c *connection) run() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.out.write(c.socket)
	}()
	err := newInbox(c).read(c.socket)
	c.mu.Lock()
	for id := range c.streams {
		c.failStream(id, errDisconnected)
	}
	c.workers.end()
	c.closeWithCause(err)
	c.mu.Unlock()
	<-written
}

// closeWithCause writes the pending frames, and closes. A violation of HTTP/2 is reported to the peer.
func (c *connection) closeWithCause(cause error) {
	if violation, ok := errors.AsType[http2.ConnectionError](cause); ok {
		slog.Error("grpcstream: a peer violated HTTP/2", "reason", cause.Error())
		_ = c.socket.SetWriteDeadline(time.Now().Add(goAwayTimeout))
		c.out.appendGoAway(c.lastID, http2.ErrCode(violation))
	}
	c.out.close()
}

// unlock ends a change, and has the frames that it appended to the outbox written.
func (c *connection) unlock() {
	pending := len(c.out.pending) > 0
	c.mu.Unlock()
	if pending {
		c.out.more.Signal() // only now: the goroutine that wakes needs the mutex
	}
}

// failStream ends a stream, if it exists, with an error for its handler.
func (c *connection) failStream(id uint32, err error) {
	if s := c.streams[id]; s != nil {
		delete(c.streams, id)
		s.fail(err)
		c.closeIfDone()
	}
}

// ---------------------------------------------------------------- ending

// closeNow ends the connection at once.
func (c *connection) closeNow() { _ = c.socket.Close() }

// lastOfAll is the largest possible stream number.
const lastOfAll = 1<<31 - 1

// drainPing asks whether the peer has received the request to open no more streams.
var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// drain asks the peer to open no more streams. Those that it opens before it has read that are served: only its answer
// to a ping shows which one was the last (RFC 9113, 6.8).
func (c *connection) drain() {
	c.mu.Lock()
	defer c.unlock()
	c.leaving = true
	c.out.appendGoAway(lastOfAll, http2.ErrCodeNo)
	c.out.appendFrame(http2.FramePing, 0, 0, drainPing[:])
}

func (c *connection) handleDrainAck() {
	c.draining = true
	c.out.appendGoAway(c.lastID, http2.ErrCodeNo)
	c.closeIfDone()
}

// closeIfDone closes a draining connection that has no streams left.
func (c *connection) closeIfDone() {
	if c.draining && len(c.streams) == 0 {
		c.out.close()
	}
}
