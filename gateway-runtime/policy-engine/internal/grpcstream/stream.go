package grpcstream

import (
	"context"
	"encoding/binary"
	"io"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// prefix is the size of what stands before each message: a byte that says whether it is compressed, and its length.
const prefix = 5

// The errors of streams. Those of a peer that is gone are codes.Canceled.
var (
	errLost          = status.Error(codes.Canceled, "the connection was lost")
	errReset         = status.Error(codes.Canceled, "the peer has reset the stream")
	errBroken        = status.Error(codes.Internal, "the peer broke the rules of HTTP/2")
	errOver          = status.Error(codes.Internal, "the stream has been ended")
	errUnknownMethod = status.Error(codes.Unimplemented, "unknown method")
	errCompressed    = status.Error(codes.Unimplemented, "expected messages that are not compressed")
	errTooLarge      = status.Errorf(codes.ResourceExhausted, "expected messages of at most %d bytes", largestMessage)
	errCutOff        = status.Error(codes.Internal, "the stream ended within a message")
)

// Stream is one call. Its methods are for the goroutine of its handler; the connection's mutex guards its fields.
type Stream struct {
	connection *connection
	id         uint32
	ctx        context.Context //nolint:containedctx // the stream's own: it lives as long
	cancel     context.CancelFunc

	came       []byte        // messages, with their prefixes, that were not received yet
	ended      bool          // nothing follows them
	failed     error         // nothing is received or sent any more
	uncredited int           // bytes that came since the peer was given credit
	waiting    bool          // for something to come, on
	arrived    chan struct{} // which has room for one token
	window     int           // bytes of data that the peer takes in
	opened     bool          // the answer's headers are on their way
}

func newStream(c *connection, id uint32) *Stream {
	s := &Stream{connection: c, id: id, window: c.out.perStream, arrived: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Context is done when the peer has reset the stream or is gone, and when the handler has returned.
func (s *Stream) Context() context.Context { return s.ctx }

// ---------------------------------------------------------------- receiving

// Receive waits for the next message, which is the caller's to keep. After the last one it returns io.EOF.
func (s *Stream) Receive() ([]byte, error) {
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	for {
		if message, err := s.next(); message != nil || err != nil {
			return message, err
		}
		s.credit()
		s.waiting = true
		c.unlock()
		<-s.arrived
		c.mu.Lock()
	}
}

// next takes the next message of what came: nil if it is not whole.
func (s *Stream) next() (message []byte, err error) {
	size, err := s.sizeOfNext()
	switch {
	case s.failed != nil:
		return nil, s.failed
	case err != nil:
		return nil, err
	case size > 0 && size <= len(s.came):
		message, s.came = s.came[prefix:size:size], s.came[size:]
		return message, nil
	case s.ended && len(s.came) > 0:
		return nil, errCutOff
	case s.ended:
		return nil, io.EOF
	}
	return nil, nil
}

// sizeOfNext is that of the next message with its prefix: 0 as long as that is not known.
func (s *Stream) sizeOfNext() (int, error) {
	if len(s.came) < prefix {
		return 0, nil
	}
	if s.came[0] != 0 {
		return 0, errCompressed
	}
	size := int(binary.BigEndian.Uint32(s.came[1:prefix]))
	if size > largestMessage {
		return 0, errTooLarge
	}
	return prefix + size, nil
}

// credit lets the peer send more, now that the handler has all that came.
func (s *Stream) credit() {
	if s.uncredited > streamWindow/4 && !s.ended {
		s.connection.out.putWindow(s.id, s.uncredited)
		s.uncredited = 0
	}
}

// take adds data that came, in a frame of that many bytes.
func (s *Stream) take(data []byte, length int, ended bool) error {
	if s.ended {
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	if s.uncredited += length; s.uncredited > streamWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s.came = append(s.came, data...)
	s.ended = ended
	s.wake()
	return nil
}

func (s *Stream) wake() {
	if s.waiting {
		s.waiting = false
		s.arrived <- struct{}{}
	}
}

// fail ends the stream for its handler.
func (s *Stream) fail(why error) {
	s.failed = why
	s.cancel()
	s.wake()
	s.connection.out.room.Broadcast()
}

// ---------------------------------------------------------------- sending

// Send sends a message. It waits where the peer has given no credit for more.
func (s *Stream) Send(message []byte) error {
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	if s.failed == nil && !s.opened {
		s.opened = true
		c.out.putHeaders(s.id)
	}
	var head [prefix]byte
	binary.BigEndian.PutUint32(head[1:], uint32(len(message)))
	whole := prefix + len(message)
	if s.failed != nil || whole > s.room() {
		return s.sendPieces(append(head[:], message...))
	}
	s.putData(whole, head[:], message) // as most fit
	return nil
}

// room is how many bytes of data may go out now, in one frame.
func (s *Stream) room() int {
	o := &s.connection.out
	if len(o.pending) > outboxLimit {
		return 0
	}
	return min(s.window, o.window, o.largestFrame)
}

func (s *Stream) putData(size int, parts ...[]byte) {
	o := &s.connection.out
	s.window -= size
	o.window -= size
	o.putHead(size, http2.FrameData, 0, s.id)
	for _, part := range parts {
		o.pending = append(o.pending, part...)
	}
}

// sendPieces sends data as there is room for it.
func (s *Stream) sendPieces(data []byte) error {
	o := &s.connection.out
	for len(data) > 0 {
		if s.failed != nil {
			return s.failed
		}
		size := min(s.room(), len(data))
		if size <= 0 {
			o.more.Signal()
			o.room.Wait()
			continue
		}
		s.putData(size, data[:size])
		data = data[size:]
	}
	return nil
}

// finish ends the stream with what its handler returned.
func (s *Stream) finish(err error) {
	c := s.connection
	c.mu.Lock()
	defer c.unlock()
	if s.failed != nil {
		return
	}
	delete(c.streams, s.id)
	s.answer(err)
	c.closeIfDone()
}

// answer tells the peer how the stream ended, and that nothing more of it is wanted.
func (s *Stream) answer(err error) {
	o := &s.connection.out
	s.fail(errOver)
	o.putStatus(s.id, s.opened, err)
	if !s.ended {
		o.putReset(s.id, http2.ErrCodeNo)
	}
}
