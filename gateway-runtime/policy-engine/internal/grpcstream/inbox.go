package grpcstream

import (
	"bufio"
	"errors"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The limits of a peer, in bytes.
const (
	firstWindow      = 16 << 10 // on a new stream: kept for a handler that does not ask for it
	streamWindow     = 64 << 10 // on a stream whose handler waits for more
	connectionWindow = 8 << 20  // on a connection, before it is read
	largestMessage   = 64 << 20 // a whole message
	largestHeaders   = 64 << 10 // of a stream, encoded
	mostPieces       = 1 << 10  // frames of a stream's headers, each of which can be empty
	readBuffer       = 64 << 10
)

// inbox reads a connection's frames. It belongs to one goroutine.
type inbox struct {
	connection *connection
	buffered   *bufio.Reader // the source of frames
	frames     *http2.Framer
	fields     *hpack.Decoder

	// The headers that are being received:
	path      string
	authority string // if the server keeps it
	size      int    // encoded
	pieces    int
	ended     bool
}

func newInbox(c *connection) *inbox {
	in := &inbox{connection: c}
	keep := in.keepPath
	if c.server.keepsAuthority {
		keep = in.keepPathAndAuthority
	}
	in.fields = hpack.NewDecoder(headerTable, keep)
	return in
}

func (in *inbox) keepPath(field hpack.HeaderField) {
	if field.Name == ":path" {
		in.path = field.Value
	}
}

func (in *inbox) keepPathAndAuthority(field hpack.HeaderField) {
	switch field.Name {
	case ":path":
		in.path = field.Value
	case ":authority":
		in.authority = field.Value
	}
}

// read handles frames until the connection ends, and returns the reason.
func (in *inbox) read(from io.Reader) error {
	in.buffered = bufio.NewReaderSize(from, readBuffer)
	if err := readPreface(in.buffered); err != nil {
		return err
	}
	in.frames = http2.NewFramer(nil, in.buffered)
	in.frames.SetReuseFrames()
	in.frames.SetMaxReadFrameSize(defaultFrame)
	for {
		if err := in.readFrame(); err != nil {
			return err
		}
	}
}

func readPreface(from io.Reader) error {
	var preface [len(http2.ClientPreface)]byte
	_, err := io.ReadFull(from, preface[:])
	if err == nil && string(preface[:]) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return err
}

// readFrame reads and handles one frame. Its error ends the connection.
func (in *inbox) readFrame() error {
	head, err := in.frames.ReadFrameHeader()
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	if err == nil {
		_, err = in.buffered.Peek(int(head.Length)) // bytes that are missing from here on belong to this frame
	}
	if err != nil {
		return err
	}
	frame, err := in.frames.ReadFrameForHeader(head)
	if err != nil {
		return in.handleInvalidFrame(head, err)
	}
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		in.path, in.authority, in.size, in.pieces, in.ended = "", "", 0, 0, frame.StreamEnded()
		return in.handleHeaderBlock(frame.StreamID, frame.HeaderBlockFragment(), frame.HeadersEnded())
	case *http2.ContinuationFrame:
		return in.handleHeaderBlock(frame.StreamID, frame.HeaderBlockFragment(), frame.HeadersEnded())
	default:
		return in.connection.handleFrame(frame)
	}
}

// handleInvalidFrame ends the stream of a frame that violates the protocol, or returns the error that ends the
// connection.
func (in *inbox) handleInvalidFrame(head http2.FrameHeader, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	broken, ok := errors.AsType[http2.StreamError](err)
	switch {
	case !ok:
		return err
	case head.Type == http2.FrameHeaders: // later ones cannot be decoded without them (RFC 9113, 6.2)
		return http2.ConnectionError(broken.Code)
	}
	return in.connection.resetStream(broken.StreamID, broken.Code)
}

// handleHeaderBlock decodes a part of the headers that open a stream, or of the trailers that end it.
func (in *inbox) handleHeaderBlock(id uint32, block []byte, complete bool) error {
	in.size += len(block)
	in.pieces++
	if in.size > largestHeaders || in.pieces > mostPieces {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if _, err := in.fields.Write(block); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	if !complete {
		return nil
	}
	if err := in.fields.Close(); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	return in.connection.handleHeaders(id, in.path, in.authority, in.ended)
}

// ---------------------------------------------------------------- frames

// resetStream resets a stream that violates the protocol. A violation on a stream that was not opened ends the
// connection.
func (c *connection) resetStream(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	defer c.unlock()
	if c.isIdle(id) {
		return http2.ConnectionError(code)
	}
	if c.streams[id] != nil { // otherwise it has ended here
		c.out.appendReset(id, code)
		c.failStream(id, errProtocol)
	}
	return c.out.checkUnread()
}

func (c *connection) handleHeaders(id uint32, path, authority string, ended bool) error {
	c.mu.Lock()
	defer c.unlock()
	switch s := c.streams[id]; {
	case s != nil && ended:
		return s.addData(nil, 0, ended)
	case s != nil || id%2 == 0: // trailers without the end of the stream; a stream that only the server could open
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case id <= c.lastID: // the stream has ended here
		return nil
	case c.draining: // the peer knows that it must not open streams
		return nil
	}
	c.accept(id, path, authority, ended)
	return c.out.checkUnread()
}

// accept starts a stream that the peer has opened.
func (c *connection) accept(id uint32, path, authority string, ended bool) {
	c.lastID = id
	s := newStream(c, id)
	s.authority, s.ended = authority, ended
	if path != c.server.method {
		s.sendStatus(errUnknownMethod)
		return
	}
	c.streams[id] = s
	c.start(s)
}

// handleFrame handles the other kinds of frames. Those that it leaves out (PRIORITY, GOAWAY of a peer) need no
// reaction.
func (c *connection) handleFrame(frame http2.Frame) error {
	c.mu.Lock()
	defer c.unlock()
	switch frame := frame.(type) {
	case *http2.DataFrame:
		return c.handleData(frame)
	case *http2.RSTStreamFrame:
		return c.handleReset(frame.StreamID)
	case *http2.WindowUpdateFrame:
		return c.handleWindowUpdate(frame.StreamID, int(frame.Increment))
	case *http2.SettingsFrame:
		return c.handleSettings(frame)
	case *http2.PingFrame:
		return c.handlePing(frame)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// isIdle reports whether the peer has not opened the stream. Only the server could open streams with even numbers.
func (c *connection) isIdle(id uint32) bool { return id%2 == 0 || id > c.lastID && !c.draining }

func (c *connection) handleReset(id uint32) error {
	if c.isIdle(id) {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.failStream(id, errReset)
	return nil
}

// minWindow is the least that may be left of a stream's window: it is negative as long as the peer may assume the
// default window, before settings change it (RFC 9113, 6.9.3).
func (c *connection) minWindow() int {
	if c.agreed {
		return 0
	}
	return firstWindow - defaultWindow
}

// handleData passes data to a stream. The connection gets its credit back at once, the stream when its handler has the
// data.
func (c *connection) handleData(frame *http2.DataFrame) error {
	if c.received += int(frame.Length); c.received > connectionWindow/4 {
		c.out.appendWindowUpdate(0, c.received)
		c.received = 0
	}
	if s := c.streams[frame.StreamID]; s != nil {
		return s.addData(frame.Data(), int(frame.Length), frame.StreamEnded())
	}
	if c.isIdle(frame.StreamID) {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // the stream has ended here
}

func (c *connection) handleWindowUpdate(id uint32, more int) error {
	switch s := c.streams[id]; {
	case id == 0:
		return c.growWindow(&c.out.window, more)
	case s != nil:
		return c.growWindow(&s.window, more)
	case c.isIdle(id):
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *connection) growWindow(window *int, more int) error {
	if *window += more; *window > largestWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.out.room.Broadcast()
	return nil
}

func (c *connection) handleSettings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		c.agreed = true
		return nil
	}
	perStream := c.out.perStream
	err := frame.ForeachSetting(func(setting http2.Setting) error {
		if setting.ID == http2.SettingInitialWindowSize {
			perStream = int(setting.Val) // applied once, even if it occurs several times
		}
		return c.applySetting(setting)
	})
	if err == nil {
		err = c.resizeWindows(perStream)
	}
	if err != nil {
		return err
	}
	c.out.appendFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, nil)
	return c.out.checkUnread()
}

func (c *connection) applySetting(setting http2.Setting) error {
	switch setting.ID {
	case http2.SettingMaxFrameSize:
		c.out.largestFrame = int(setting.Val)
	case http2.SettingHeaderTableSize:
		c.out.encoder.SetMaxDynamicTableSizeLimit(setting.Val)
	}
	return setting.Valid()
}

// resizeWindows changes the peer's window for each stream, which may become negative (RFC 9113, 6.9.2).
func (c *connection) resizeWindows(size int) error {
	if size == c.out.perStream {
		return nil
	}
	for _, s := range c.streams {
		if err := c.growWindow(&s.window, size-c.out.perStream); err != nil {
			return err
		}
	}
	c.out.perStream = size
	return nil
}

func (c *connection) handlePing(frame *http2.PingFrame) error {
	switch {
	case !frame.IsAck():
		c.out.appendFrame(http2.FramePing, http2.FlagPingAck, 0, frame.Data[:])
	case c.leaving && frame.Data == drainPing:
		c.handleDrainAck()
	}
	return c.out.checkUnread()
}
