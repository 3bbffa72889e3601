package grpcstream

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// goAwayTimeout is how long a peer that has violated the protocol is given to read why the connection ends.
const goAwayTimeout = time.Second

// connection is one HTTP/2 connection.
type connection struct {
	server *Server
	socket net.Conn

	mu       sync.Mutex // guards what follows, and the streams
	streams  map[uint32]*Stream
	lastID   uint32 // of the streams that were opened
	received int    // bytes of data since the peer was given credit for the connection
	leaving  bool   // the peer was told to open no more streams,
	draining bool   // and has heard it
	agreed   bool   // the peer has acknowledged the settings
	out      outbox
}

func newConnection(server *Server, socket net.Conn) *connection {
	c := &connection{server: server, socket: socket, streams: map[uint32]*Stream{}}
	c.out = newOutbox(&c.mu)
	c.out.appendSetting(http2.SettingInitialWindowSize, firstWindow) // before anything else (RFC 9113, 3.4)
	c.out.appendWindowUpdate(0, connectionWindow-defaultWindow)
	return c
}

// run serves the connection until it ends, and ends all that is on it.
func (c *connection) run() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.out.write(c.socket)
	}()
	err := newInbox(c).read(c.socket)
	c.mu.Lock()
	for id := range c.streams {
		c.abandon(id, errLost)
	}
	c.closeFor(err)
	c.mu.Unlock()
	<-written
}

// closeFor has what is pending written, and closes. A violation of HTTP/2 is told to the peer, if it listens.
func (c *connection) closeFor(cause error) {
	if violation, ok := errors.AsType[http2.ConnectionError](cause); ok {
		slog.Error("grpcstream: a peer violated HTTP/2", "reason", cause.Error())
		_ = c.socket.SetWriteDeadline(time.Now().Add(goAwayTimeout))
		c.out.appendGoAway(c.lastID, http2.ErrCode(violation))
	}
	c.out.close()
}

// unlock ends a change, and has what it appended to the outbox written.
func (c *connection) unlock() {
	pending := len(c.out.pending) > 0
	c.mu.Unlock()
	if pending {
		c.out.more.Signal() // not before: whoever wakes wants the mutex
	}
}

// abandon ends a stream, if there is one, for its handler.
func (c *connection) abandon(id uint32, why error) {
	if s := c.streams[id]; s != nil {
		delete(c.streams, id)
		s.fail(why)
		c.closeIfDone()
	}
}

// ---------------------------------------------------------------- ends

// closeNow ends the connection at once.
func (c *connection) closeNow() { _ = c.socket.Close() }

// lastOfAll is the largest number that a stream can have.
const lastOfAll = 1<<31 - 1

// drainPing asks whether the peer has heard that it is to open no more streams.
var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// drain tells the peer to open no more streams. Those that it opens before it has heard of that are served: only its
// answer to a ping says which one was the last (RFC 9113, 6.8).
func (c *connection) drain() {
	c.mu.Lock()
	defer c.unlock()
	c.leaving = true
	c.out.appendGoAway(lastOfAll, http2.ErrCodeNo)
	c.out.appendFrame(http2.FramePing, 0, 0, drainPing[:])
}

func (c *connection) handleDrainHeard() {
	c.draining = true
	c.out.appendGoAway(c.lastID, http2.ErrCodeNo)
	c.closeIfDone()
}

// closeIfDone closes a connection that drains when it has no stream left.
func (c *connection) closeIfDone() {
	if c.draining && len(c.streams) == 0 {
		c.out.close()
	}
}
