package grpcstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	"gatewright.dev/policy-engine/internal/grpcstream"
)

func TestConversation(t *testing.T) {
	p := serve(t, echo).connect(t)
	p.write(http2.ClientPreface)
	p.settings()
	p.expect("SETTINGS INITIAL_WINDOW_SIZE=16384", "WINDOW_UPDATE 0: 8323073", "SETTINGS ACK")
	p.open(1)
	p.quiet()
	p.send(1, "hello")
	p.expect("HEADERS 1: :status=200, content-type=application/grpc", "DATA 1: hello")
	p.send(1, "world")
	p.expect("DATA 1: world")
	p.open(3)
	p.end(3)
	p.expect("HEADERS 3 END: :status=200, content-type=application/grpc, grpc-status=0")
	p.end(1)
	p.expect("HEADERS 1 END: grpc-status=0")
	p.quiet()
}

// ---------------------------------------------------------------- headers and data in pieces

// plainBlock is the headers of a stream, which do not depend on those before.
func plainBlock(p *peer) []byte {
	p.encoded.Reset()
	for _, field := range [][2]string{{":method", "POST"}, {":path", method}, {"x-long", strings.Repeat("x", 40)}} {
		p.check(p.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}))
	}
	return slices.Clone(p.encoded.Bytes())
}

func TestHeadersInTwoFrames(t *testing.T) {
	p := serve(t, echo).dial(t)
	block := plainBlock(p)
	for cut := range len(block) + 1 {
		id := uint32(2*cut + 1)
		p.opens(id)
		p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:cut]}))
		p.check(p.WriteContinuation(id, true, block[cut:]))
		p.exchange(id, "hello")
	}
}

func TestHeadersInManyFrames(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.opens(1)
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true}))
	for _, b := range plainBlock(p) {
		p.check(p.WriteContinuation(1, false, []byte{b}))
	}
	p.check(p.WriteContinuation(1, true, nil))
	p.expect("HEADERS 1 END: :status=200, content-type=application/grpc, grpc-status=0")
}

func TestMessageInTwoFrames(t *testing.T) {
	p := serve(t, echo).dial(t)
	whole := message("hello")
	for cut := range len(whole) + 1 {
		id := uint32(2*cut + 1)
		p.open(id)
		p.check(p.WriteData(id, false, whole[:cut]))
		p.check(p.WriteData(id, false, whole[cut:]))
		p.expect(opened(id), fmt.Sprintf("DATA %d: hello", id))
		p.end(id)
		p.expect(done(id))
	}
}

func TestSeveralMessagesInOneFrame(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	p.data(1, slices.Concat(message("one"), message(""), message("three"), message("four")[:6]))
	p.expect(opened(1), "DATA 1: one", "DATA 1: ", "DATA 1: three")
	p.quiet()
	p.data(1, message("four")[6:])
	p.expect("DATA 1: four")
}

func TestLastMessageEndsTheStream(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	p.check(p.WriteData(1, true, message("hello")))
	p.expect(opened(1), "DATA 1: hello", done(1))
	p.quiet()
}

func TestPadding(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.opens(1)
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(method), EndHeaders: true, PadLength: 200,
		Priority: http2.PriorityParam{Weight: 7}}))
	p.check(p.WriteDataPadded(1, false, message("hello"), make([]byte, 255)))
	p.expect(opened(1), "DATA 1: hello")
	p.check(p.WriteDataPadded(1, true, nil, make([]byte, 3)))
	p.expect(done(1))
}

func TestTrailersEndTheStream(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	p.send(1, "hello")
	p.trailers(1)
	p.expect(opened(1), "DATA 1: hello", done(1))
	p.open(3) // what trailers put into the table of headers is known
	p.exchange(3, "hello")
}

// TestMessagesStay: a received message belongs to the handler, regardless of later messages and of its changes.
func TestMessagesStay(t *testing.T) {
	var kept [][]byte
	p := serve(t, func(stream *grpcstream.Stream) error {
		err := each(stream, func(message []byte) error {
			_ = append(message, "overwritten"...)
			kept = append(kept, message)
			return nil
		})
		for _, message := range kept {
			err = stream.Send(message, nil)
		}
		return err
	}).dial(t)
	p.open(1)
	p.data(1, slices.Concat(message("one"), message("two"), message("three")[:6]))
	p.quiet()
	p.data(1, slices.Concat(message("three")[6:], message("four"), message("five")))
	p.end(1)
	p.expect(opened(1), "DATA 1: one", "DATA 1: two", "DATA 1: three", "DATA 1: four", "DATA 1: five", done(1))
}

// ---------------------------------------------------------------- ends

const unknownMethod = ":status=200, content-type=application/grpc, grpc-status=12, grpc-message=unknown method"

func TestUnknownMethodOnTheWire(t *testing.T) {
	p := serve(t, func(*grpcstream.Stream) error {
		t.Error("the handler was called")
		return nil
	}).dial(t)
	p.openAt(1, "/test.Service/Other", false)
	p.expect("HEADERS 1 END: "+unknownMethod, "RST_STREAM 1: NO_ERROR")
	p.openAt(3, "/test.Service/Other", true)
	p.expect("HEADERS 3 END: " + unknownMethod)
	p.quiet()
}

func TestHeadersWithoutMethod(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	p.exchange(1, "hello")
	p.opens(3)
	headers(3, 0x83)(p) // :method: POST
	p.expect("HEADERS 3 END: "+unknownMethod, "RST_STREAM 3: NO_ERROR")
}

func TestFramesAfterTheEndAreIgnored(t *testing.T) {
	p := serve(t, func(stream *grpcstream.Stream) error {
		message, err := stream.Receive(stream.Context())
		if err != nil {
			return err
		}
		return stream.Send(message, nil)
	}).dial(t)
	p.open(1)
	p.open(3)
	p.send(1, "hello")
	p.expect(opened(1), "DATA 1: hello", done(1), "RST_STREAM 1: NO_ERROR")
	p.send(1, "late")
	p.grant(1, 100)
	credit(1, 0)(p)
	p.trailers(1)
	p.reset(1)
	p.send(1, "later")
	p.quiet()
	p.send(3, "hello")
	p.expect(opened(3), "DATA 3: hello", done(3), "RST_STREAM 3: NO_ERROR")
}

func TestBadMessages(t *testing.T) {
	p := serve(t, echo).dial(t)
	refused := "HEADERS %d END: :status=200, content-type=application/grpc, grpc-status=%d, grpc-message=%s"
	p.open(1)
	p.data(1, []byte{0, 4, 0, 0, 0}) // 64 MiB follow
	p.quiet()
	p.open(3)
	p.data(3, []byte{0, 4, 0, 0, 1})
	p.expect(fmt.Sprintf(refused, 3, codes.ResourceExhausted, "expected messages of at most 67108864 bytes"), "RST_STREAM 3: NO_ERROR")
	p.open(5)
	p.data(5, []byte{1, 0, 0, 0, 0})
	p.expect(fmt.Sprintf(refused, 5, codes.Unimplemented, "expected messages that are not compressed"), "RST_STREAM 5: NO_ERROR")
	for _, size := range []int{1, 4, 5, 9} {
		id := uint32(2*size + 11)
		p.open(id)
		p.data(id, message("hello")[:size])
		p.end(id)
		p.expect(fmt.Sprintf(refused, id, codes.Internal, "the stream ended within a message"))
	}
}

func TestDisconnectionEndsAllHandlers(t *testing.T) {
	ended := make(chan error, 3)
	p := serve(t, reporting(ended, func(stream *grpcstream.Stream) error {
		message, err := stream.Receive(stream.Context())
		switch string(message) {
		case "send":
			err = stream.Send(make([]byte, 1<<20), nil)
		case "receive":
			_, err = stream.Receive(stream.Context())
		}
		<-stream.Context().Done()
		return err
	})).dial(t)
	p.open(1)
	p.open(3)
	p.send(3, "receive")
	p.open(5)
	p.send(5, "send")
	p.until("DATA 5: 16383 bytes") // the last that there is credit for
	p.check(p.conn.Close())
	for range 3 {
		expectCode(t, codes.Canceled, next(t, ended))
	}
}

func TestDisconnectionWithinTheGreeting(t *testing.T) {
	h := serve(t, echo)
	for cut := range len(http2.ClientPreface) {
		p := h.connect(t)
		p.write(http2.ClientPreface[:cut])
		p.check(p.conn.Close())
	}
	h.GracefulStop() // which waits for all connections
}

// ---------------------------------------------------------------- connections

func TestPing(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.check(p.WritePing(false, [8]byte{'a', 'n', 'y', 't', 'h', 'i', 'n', 'g'}))
	p.expect("PING ACK: anything")
}

func TestFramesWithoutEffect(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	p.check(p.WritePriority(1, http2.PriorityParam{StreamDep: 7, Weight: 3}))
	p.check(p.WriteRawFrame(0x42, 0xff, 1, []byte("unknown")))
	p.check(p.WriteRawFrame(0x42, 0xff, 0, nil))
	p.check(p.WriteGoAway(0, http2.ErrCodeNo, []byte("soon")))
	p.check(p.WritePing(true, [8]byte{'n', 'o', 'b', 'o', 'd', 'y', 's'}))
	p.quiet()
	p.settings(http2.Setting{ID: 0x42, Val: 42}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	p.expect("SETTINGS ACK")
	p.exchange(1, "hello")
	p.open(3)
	p.exchange(3, "hello")
}

func TestHeadersForAPeerWithoutTable(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	p.exchange(1, "hello")
	p.settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	p.expect("SETTINGS ACK")
	p.decoder = hpack.NewDecoder(0, nil)
	for _, id := range []uint32{3, 5} {
		p.open(id)
		p.exchange(id, "hello")
	}
}
