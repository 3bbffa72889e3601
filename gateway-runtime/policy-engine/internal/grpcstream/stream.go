package grpcstream

import (
	"context"
	"encoding/binary"
	"io"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// prefixSize is the size of a message's prefix: a byte for compression, and the length.
const prefixSize = 5

// The errors of streams. A peer cancels a stream by a reset, or with the connection's end: codes.Canceled.
var (
	errDisconnected  = status.Error(codes.Canceled, "the peer cancelled the stream: the connection ended")
	errReset         = status.Error(codes.Canceled, "the peer cancelled the stream: RST_STREAM")
	errProtocol      = status.Error(codes.Internal, "the peer violated HTTP/2")
	errFinished      = status.Error(codes.Internal, "the handler of the stream has returned")
	errUnknownMethod = status.Error(codes.Unimplemented, "unknown method")
	errCompressed    = status.Error(codes.Unimplemented, "expected messages that are not compressed")
	errTooLarge      = status.Errorf(codes.ResourceExhausted, "expected messages of at most %d bytes", largestMessage)
	errCutOff        = status.Error(codes.Internal, "the stream ended within a message")
)

// Stream is one call. One goroutine at a time receives, and one sends; the connection's mutex guards the fields.
type Stream struct {
	connection *connection
	id         uint32
	authority  string
	ctx        context.Context //nolint:containedctx // the stream's own, with the same lifetime
	cancel     context.CancelFunc

	arrivals     [][]byte         // whole messages that the handler has not received yet
	arrivalsRoom [2][]byte        // the usual memory of arrivals
	prefix       [prefixSize]byte // of the next message; prefixLength bytes of it have arrived
	prefixLength int
	partial      []byte // the part of that message that has arrived, with capacity for all of it; nil until its prefix is complete
	ended        bool   // the peer has ended the stream
	refused      error  // the peer sent an unsupported message; nothing more is read
	failed       error  // the stream has ended with this error

	granted, allowed int           // bytes: the largest window that the peer was given, and the rest of it
	kept             int           // bytes that the handler has received and holds
	waiting          bool          // Receive waits for a token in arrived
	arrived          chan struct{} // capacity 1

	window int  // bytes of data that the peer still accepts
	opened bool // the response's headers have been appended
}

func newStream(c *connection, id uint32) *Stream {
	s := &Stream{connection: c, id: id, window: c.out.perStream, granted: firstWindow, allowed: firstWindow,
		arrived: make(chan struct{}, 1)}
	s.arrivals = s.arrivalsRoom[:0]
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Context is cancelled when the peer cancels the stream, and when the handler has returned.
func (s *Stream) Context() context.Context { return s.ctx }

// Authority is what the peer has sent as the stream's authority, if the server keeps it; otherwise "".
func (s *Stream) Authority() string { return s.authority }

// ---------------------------------------------------------------- receiving

// Receive waits for the next message, which the caller may keep: it shares its memory with no other. After the last one
// it returns io.EOF. One goroutine at a time may wait. If ctx is done first, its cause is the error, and no message is
// lost: the next call returns it.
func (s *Stream) Receive(ctx context.Context) ([]byte, error) {
	var done <-chan struct{}
	if ctx != s.ctx { // the end of s.ctx wakes the handler anyway
		done = ctx.Done()
	}
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	for {
		if message, err := s.next(); message != nil || err != nil {
			return message, err
		}
		s.waiting = true
		s.grantCredit()
		c.unlock()
		select {
		case <-s.arrived:
			c.mu.Lock()
		case <-done:
			c.mu.Lock()
			s.stopWaiting()
			if s.failed != nil {
				return nil, s.failed
			}
			return nil, context.Cause(ctx)
		}
	}
}

// stopWaiting withdraws the request to be woken.
func (s *Stream) stopWaiting() {
	if s.waiting {
		s.waiting = false
		return
	}
	<-s.arrived // it was woken meanwhile
}

// Keep adds more to the received bytes that the handler holds unused; a negative number releases them. The peer gets no
// credit for them.
func (s *Stream) Keep(more int) {
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	s.kept += more
	s.grantCredit()
}

// next returns the next whole message; nil if none has arrived.
func (s *Stream) next() (message []byte, err error) {
	switch {
	case s.failed != nil:
		return nil, s.failed
	case len(s.arrivals) > 0:
		message, s.arrivals[0], s.arrivals = s.arrivals[0], nil, s.arrivals[1:]
		if len(s.arrivals) == 0 {
			s.arrivals = s.arrivalsRoom[:0]
		}
		return message, nil
	case s.refused != nil:
		return nil, s.refused
	case s.ended && (s.prefixLength > 0 || s.partial != nil):
		return nil, errCutOff
	case s.ended:
		return nil, io.EOF
	}
	return nil, nil
}

// grantCredit lets the peer send more, if the handler waits for it: as much as fits the window besides the kept bytes.
func (s *Stream) grantCredit() {
	window := streamWindow - s.kept
	if s.waiting && s.allowed <= min(s.granted, window)/2 && s.allowed < window && !s.ended {
		s.connection.out.appendWindowUpdate(s.id, window-s.allowed)
		s.granted, s.allowed = streamWindow, window
	}
}

// addData adds arrived data, in a frame of length bytes.
func (s *Stream) addData(data []byte, length int, ended bool) error {
	if s.ended {
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	if s.allowed -= length; length > 0 && s.allowed < s.connection.minWindow() {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s.ended = ended
	for len(data) > 0 && s.refused == nil {
		data = s.assemble(data)
	}
	if len(s.arrivals) > 0 || s.refused != nil || ended {
		s.wake()
	}
	s.grantCredit()
	return nil
}

// assemble appends to the present message the data that belongs to it, and returns the rest.
func (s *Stream) assemble(data []byte) (rest []byte) {
	if s.partial == nil {
		part := copy(s.prefix[s.prefixLength:], data)
		s.prefixLength, data = s.prefixLength+part, data[part:]
		if s.prefixLength < prefixSize {
			return nil
		}
		s.prefixLength = 0
		if s.partial, s.refused = newMessage(s.prefix); s.refused != nil {
			return nil
		}
	}
	part := min(cap(s.partial)-len(s.partial), len(data))
	if s.partial = append(s.partial, data[:part]...); len(s.partial) == cap(s.partial) {
		s.arrivals, s.partial = append(s.arrivals, s.partial), nil
	}
	return data[part:]
}

// newMessage allocates the message with that prefix.
func newMessage(head [prefixSize]byte) ([]byte, error) {
	if head[0] != 0 {
		return nil, errCompressed
	}
	size := int(binary.BigEndian.Uint32(head[1:]))
	if size > largestMessage {
		return nil, errTooLarge
	}
	return make([]byte, 0, size), nil
}

func (s *Stream) wake() {
	if s.waiting {
		s.waiting = false
		s.arrived <- struct{}{}
	}
}

// fail ends the stream with an error for its handler.
func (s *Stream) fail(err error) {
	s.failed = err
	s.cancel()
	s.wake()
	s.connection.out.room.Broadcast()
}

// ---------------------------------------------------------------- sending

// Send sends a message in two parts, since one of them may be large and belong to another owner. It waits while the
// peer gives no credit.
func (s *Stream) Send(message, rest []byte) error {
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	if s.failed == nil && !s.opened {
		s.opened = true
		c.out.appendResponseHeaders(s.id)
	}
	var head [prefixSize]byte
	binary.BigEndian.PutUint32(head[1:], uint32(len(message)+len(rest)))
	whole := prefixSize + len(message) + len(rest)
	if s.failed != nil || whole > s.room() {
		return s.sendPieces(whole, append(head[:], message...), rest)
	}
	s.appendDataHead(whole) // the usual case
	out := &c.out
	out.pending = append(append(append(out.pending, head[:]...), message...), rest...)
	return nil
}

// room is the number of bytes of data that may go out now, in one frame.
func (s *Stream) room() int {
	o := &s.connection.out
	if len(o.pending) > outboxLimit {
		return 0
	}
	return min(s.window, o.window, o.largestFrame)
}

// appendDataHead starts a frame of that many bytes of data.
func (s *Stream) appendDataHead(size int) {
	o := &s.connection.out
	s.window -= size
	o.window -= size
	o.appendFrameHead(size, http2.FrameData, 0, s.id)
}

// sendPieces sends data of size bytes, as room becomes available.
func (s *Stream) sendPieces(size int, data, rest []byte) error {
	o := &s.connection.out
	for size > 0 {
		if s.failed != nil {
			return s.failed
		}
		piece := min(s.room(), size)
		if piece <= 0 {
			o.more.Signal()
			o.room.Wait()
			continue
		}
		s.appendDataHead(piece)
		first := min(piece, len(data))
		o.pending = append(append(o.pending, data[:first]...), rest[:piece-first]...)
		data, rest, size = data[first:], rest[piece-first:], size-piece
	}
	return nil
}

// finish ends the stream with the handler's error.
func (s *Stream) finish(err error) {
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	if s.failed != nil {
		return
	}
	delete(c.streams, s.id)
	s.sendStatus(err)
	c.closeIfDone()
}

// sendStatus sends the peer the stream's status, and resets the stream if the peer has not ended it.
func (s *Stream) sendStatus(err error) {
	o := &s.connection.out
	s.fail(errFinished)
	o.appendStatus(s.id, s.opened, err)
	if !s.ended {
		o.appendReset(s.id, http2.ErrCodeNo)
	}
}
