package grpcstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/status"
)

// The initial values of HTTP/2 (RFC 9113, 6.5.2), and its limit for windows, in bytes.
const (
	defaultWindow = 64<<10 - 1
	defaultFrame  = 16 << 10
	headerTable   = 4 << 10
	largestWindow = 1<<31 - 1
)

// longestStatus limits a status message, in bytes. Each may become three, and all must fit in a frame.
const longestStatus = 4 << 10

// outboxLimit is the number of pending bytes above which senders wait.
const outboxLimit = 512 << 10

// mostUnread limits the pending bytes in all: those of senders, and replies to the peer's frames, which do not wait. It
// is far more than a peer that reads at all leaves unread: the ends of 100,000 streams.
const mostUnread = 4 << 20

// outbox holds the bytes to be written to a connection, and the peer's limits for them. The connection's mutex guards
// it.
type outbox struct {
	mu      *sync.Mutex
	pending []byte     // frames
	closing bool       // no more frames are written after these
	more    *sync.Cond // pending or closing has changed
	room    *sync.Cond // a sender may continue: credit has come, pending is being written, or a stream has ended

	window       int // bytes of data that the peer still accepts on the connection
	perStream    int // the same on a new stream
	largestFrame int // the largest payload that it accepts
	encoder      *hpack.Encoder
	encoded      *bytes.Buffer // the output of encoder
}

func newOutbox(mu *sync.Mutex) outbox {
	encoded := &bytes.Buffer{}
	return outbox{
		mu: mu, more: sync.NewCond(mu), room: sync.NewCond(mu), window: defaultWindow, perStream: defaultWindow,
		largestFrame: defaultFrame, encoder: hpack.NewEncoder(encoded), encoded: encoded,
	}
}

// close ends the outbox after the pending frames.
func (o *outbox) close() {
	o.closing = true
	o.more.Signal()
}

// checkUnread returns an error if the peer requests more than it reads: with pings, settings, streams.
func (o *outbox) checkUnread() error {
	if len(o.pending) > mostUnread {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

// write writes pending frames until the outbox is closed, and closes the socket.
func (o *outbox) write(socket io.WriteCloser) {
	defer func() { _ = socket.Close() }()
	var batch []byte
	for o.nextBatch(&batch) {
		if _, err := socket.Write(batch); err != nil {
			break // the reader notices, and ends the streams
		}
	}
}

// nextBatch waits for pending frames, and swaps them for the last batch. It returns false at the end.
func (o *outbox) nextBatch(batch *[]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) == 0 && !o.closing {
		o.more.Wait()
	}
	o.mu.Unlock()
	runtime.Gosched() // goroutines that are ready may append more
	o.mu.Lock()
	*batch, o.pending = o.pending, (*batch)[:0]
	o.room.Broadcast()
	return len(*batch) > 0
}

// ---------------------------------------------------------------- frames

func (o *outbox) appendFrame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) {
	o.appendFrameHead(len(payload), kind, flags, stream)
	o.pending = append(o.pending, payload...)
}

func (o *outbox) appendFrameHead(length int, kind http2.FrameType, flags http2.Flags, stream uint32) {
	o.pending = append(o.pending, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	o.appendUint32(stream)
}

func (o *outbox) appendUint32(number uint32) {
	o.pending = binary.BigEndian.AppendUint32(o.pending, number)
}

func (o *outbox) appendSetting(setting http2.SettingID, value uint32) {
	o.appendFrameHead(6, http2.FrameSettings, 0, 0)
	o.pending = binary.BigEndian.AppendUint16(o.pending, uint16(setting))
	o.appendUint32(value)
}

func (o *outbox) appendWindowUpdate(stream uint32, more int) {
	o.appendFrameHead(4, http2.FrameWindowUpdate, 0, stream)
	o.appendUint32(uint32(more))
}

func (o *outbox) appendReset(stream uint32, code http2.ErrCode) {
	o.appendFrameHead(4, http2.FrameRSTStream, 0, stream)
	o.appendUint32(uint32(code))
}

func (o *outbox) appendGoAway(last uint32, code http2.ErrCode) {
	o.appendFrameHead(8, http2.FrameGoAway, 0, 0)
	o.appendUint32(last)
	o.appendUint32(uint32(code))
}

// appendResponseHeaders opens the response of a stream.
func (o *outbox) appendResponseHeaders(stream uint32) {
	o.encodeResponse()
	o.appendFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, stream, o.encoded.Bytes())
}

// appendStatus ends the response of a stream; a response that was not opened is opened too.
func (o *outbox) appendStatus(stream uint32, opened bool, err error) {
	if o.encoded.Reset(); !opened {
		o.encodeResponse()
	}
	end := status.Convert(err)
	o.encode("grpc-status", strconv.Itoa(int(end.Code())))
	if text := end.Message(); text != "" {
		o.encode("grpc-message", percentEncoded(text[:min(len(text), longestStatus)]))
	}
	o.appendFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, stream, o.encoded.Bytes())
}

func (o *outbox) encodeResponse() {
	o.encoded.Reset()
	o.encode(":status", "200")
	o.encode("content-type", "application/grpc")
}

func (o *outbox) encode(name, value string) {
	_ = o.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // a buffer in memory returns no errors
}

// percentEncoded encodes a status message for grpc-message.
func percentEncoded(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			_, _ = fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
