package grpcstream_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/internal/grpcstream"
)

// violation is a forbidden action of a peer, while stream 1 is open.
type violation struct {
	what   string
	code   http2.ErrCode
	commit func(*peer)
}

func raw(kind http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) func(*peer) {
	return func(p *peer) { p.check(p.WriteRawFrame(kind, flags, stream, payload)) }
}

func setting(id http2.SettingID, value uint32) func(*peer) {
	return func(p *peer) { p.settings(http2.Setting{ID: id, Val: value}) }
}

func credit(stream, more uint32) func(*peer) {
	return func(p *peer) { p.check(p.WriteWindowUpdate(stream, more)) }
}

func headers(stream uint32, block ...byte) func(*peer) {
	return raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, stream, block...)
}

// onStream2 commits a violation on a stream that is between two that were opened.
func onStream2(commit func(*peer)) func(*peer) {
	return func(p *peer) {
		p.open(3)
		p.quiet()
		commit(p)
	}
}

var violations = []violation{
	{what: "data on no stream", code: http2.ErrCodeProtocol, commit: raw(http2.FrameData, 0, 0, 0)},
	{what: "data on a stream that was never opened", code: http2.ErrCodeProtocol, commit: raw(http2.FrameData, 0, 3, 0)},
	{what: "data after the end", code: http2.ErrCodeStreamClosed, commit: func(p *peer) {
		p.end(1)
		raw(http2.FrameData, 0, 1, 0)(p)
	}},
	{what: "headers after the end", code: http2.ErrCodeStreamClosed, commit: func(p *peer) {
		p.end(1)
		p.trailers(1)
	}},
	{what: "more padding than data", code: http2.ErrCodeProtocol, commit: raw(http2.FrameData, http2.FlagDataPadded, 1, 9, 0)},
	{what: "more data than the stream's window", code: http2.ErrCodeFlowControl, commit: func(p *peer) {
		p.data(1, make([]byte, firstWindow))
		p.quiet()
		raw(http2.FrameData, 0, 1, 0)(p)
	}},
	{what: "padding beyond the stream's window", code: http2.ErrCodeFlowControl, commit: func(p *peer) {
		p.data(1, make([]byte, firstWindow))
		p.quiet()
		raw(http2.FrameData, http2.FlagDataPadded, 1, 0)(p)
	}},
	{what: "too large a window for the connection", code: http2.ErrCodeFlowControl, commit: credit(0, 1<<31-1)},
	{what: "too large a window for a stream", code: http2.ErrCodeFlowControl, commit: credit(1, 1<<31-1)},
	{what: "no credit for the connection", code: http2.ErrCodeProtocol, commit: credit(0, 0)},
	{what: "credit of five bytes", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 1, 0)},

	{what: "an even number", code: http2.ErrCodeProtocol, commit: func(p *peer) { headers(2, p.block(method)...)(p) }},
	{what: "headers of no stream", code: http2.ErrCodeProtocol, commit: headers(0)},
	{what: "an index of no header", code: http2.ErrCodeCompression, commit: headers(3, 0x80)},
	{what: "headers cut off", code: http2.ErrCodeCompression, commit: headers(3, 0x40, 5, 'x')},
	{what: "a broken string", code: http2.ErrCodeCompression, commit: headers(3, 0x40, 0x81, 0xff, 0)},
	{what: "bad trailers", code: http2.ErrCodeCompression, commit: headers(1, 0x80)},
	{what: "headers over 64 KiB", code: http2.ErrCodeEnhanceYourCalm, commit: func(p *peer) { longHeaders(p, 3, 64<<10+1) }},
	{what: "headers in headers", code: http2.ErrCodeProtocol, commit: func(p *peer) {
		raw(http2.FrameHeaders, 0, 3)(p)
		headers(5)(p)
	}},
	{what: "data in headers", code: http2.ErrCodeProtocol, commit: func(p *peer) {
		raw(http2.FrameHeaders, 0, 3)(p)
		raw(http2.FrameData, 0, 1, 0)(p)
	}},
	{what: "a continuation of nothing", code: http2.ErrCodeProtocol, commit: raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1)},
	{what: "a continuation of another's headers", code: http2.ErrCodeProtocol, commit: func(p *peer) {
		raw(http2.FrameHeaders, 0, 3)(p)
		raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 5)(p)
	}},
	{what: "a push promise", code: http2.ErrCodeProtocol, commit: raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, 0, 0, 0, 2)},
	{what: "a ping of seven bytes", code: http2.ErrCodeFrameSize, commit: raw(http2.FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7)},
	{what: "a ping of a stream", code: http2.ErrCodeProtocol, commit: raw(http2.FramePing, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8)},
	{what: "a reset of three bytes", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameRSTStream, 0, 1, 1, 2, 3)},
	{what: "half a setting", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameSettings, 0, 0, 1, 2, 3)},
	{what: "an acknowledgement with settings", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameSettings, http2.FlagSettingsAck, 0, 0, 4, 0, 0, 0, 1)},
	{what: "too large a window for new streams", code: http2.ErrCodeFlowControl, commit: setting(http2.SettingInitialWindowSize, 1<<31)},

	{what: "too large a window for open streams", code: http2.ErrCodeFlowControl, commit: func(p *peer) {
		credit(1, 1<<31-1<<16)(p)
		setting(http2.SettingInitialWindowSize, 1<<17)(p)
	}},
	{what: "frames of no size", code: http2.ErrCodeProtocol, commit: setting(http2.SettingMaxFrameSize, 0)},
	{what: "frames of any size", code: http2.ErrCodeProtocol, commit: setting(http2.SettingMaxFrameSize, 1<<24)},
	{what: "headers with more padding than there is", code: http2.ErrCodeProtocol,
		commit: raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded, 3, 9, 0)},
	{what: "a reset of a stream that was never opened", code: http2.ErrCodeProtocol, commit: raw(http2.FrameRSTStream, 0, 3, 0, 0, 0, 8)},
	{what: "credit for a stream that was never opened", code: http2.ErrCodeProtocol, commit: credit(3, 1)},
	{what: "trailers with more padding than there is", code: http2.ErrCodeProtocol,
		commit: raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded, 1, 9, 0)},
	{what: "trailers that end nothing", code: http2.ErrCodeProtocol, commit: headers(1, 0x83)},
	{what: "an even number below the last", code: http2.ErrCodeProtocol, commit: onStream2(headers(2, 0x83))},
	{what: "data on an even number", code: http2.ErrCodeProtocol, commit: onStream2(raw(http2.FrameData, 0, 2, 0))},
	{what: "credit for an even number", code: http2.ErrCodeProtocol, commit: onStream2(credit(2, 1))},
	{what: "no credit for an even number", code: http2.ErrCodeProtocol, commit: onStream2(credit(2, 0))},
	{what: "a reset of an even number", code: http2.ErrCodeProtocol, commit: onStream2(raw(http2.FrameRSTStream, 0, 2, 0, 0, 0, 8))},
	{what: "trailers with padding and no end", code: http2.ErrCodeProtocol, commit: raw(http2.FrameHeaders, http2.FlagHeadersPadded, 1, 9, 0)},
	{what: "headers with half a priority", code: http2.ErrCodeFrameSize,
		commit: raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPriority, 3, 0, 0, 0, 16)},
	{what: "headers padded by nothing", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameHeaders, http2.FlagHeadersPadded, 3)},
	{what: "data padded by nothing", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameData, http2.FlagDataPadded, 1)},
	{what: "a priority of four bytes", code: http2.ErrCodeFrameSize, commit: raw(http2.FramePriority, 0, 1, 0, 0, 0, 16)},
	{what: "a GOAWAY of seven bytes", code: http2.ErrCodeFrameSize, commit: raw(http2.FrameGoAway, 0, 0, 1, 2, 3, 4, 5, 6, 7)},
	{what: "headers that come in no end of empty pieces", code: http2.ErrCodeEnhanceYourCalm, commit: func(p *peer) {
		raw(http2.FrameHeaders, 0, 3)(p)
		for range 1024 {
			raw(http2.FrameContinuation, 0, 3)(p)
		}
	}},
	{what: "a frame over 16 KiB", code: http2.ErrCodeFrameSize,
		commit: func(p *peer) { raw(http2.FrameData, 0, 1, make([]byte, frameLimit+1)...)(p) }},
}

// longHeaders opens a stream with so many bytes of headers.
func longHeaders(p *peer, id uint32, size int) {
	p.encoded.Reset()
	for p.encoded.Len() < size {
		value := strings.Repeat("\x00", min(1000, max(size-p.encoded.Len()-5, 0))) // too unlikely for the Huffman code to shorten it
		p.check(p.encoder.WriteField(hpack.HeaderField{Name: "x", Value: value, Sensitive: true}))
	}
	pieces := slices.Collect(slices.Chunk(p.encoded.Bytes(), frameLimit))
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: pieces[0]}))
	for at, piece := range pieces[1:] {
		p.check(p.WriteContinuation(id, at == len(pieces)-2, piece))
	}
}

// TestViolationsEndTheConnection: a violation ends the connection, with its reason, and the stream's handler.
func TestViolationsEndTheConnection(t *testing.T) {
	for _, violation := range violations {
		t.Run(violation.what, func(t *testing.T) {
			ended := make(chan error, 2)
			p := serve(t, reporting(ended, idle)).dial(t)
			p.open(1)
			p.quiet()
			violation.commit(p)
			if got, want := p.read(), fmt.Sprintf(": %v", violation.code); !strings.HasPrefix(got, "GOAWAY ") || !strings.HasSuffix(got, want) {
				t.Fatalf("expected GOAWAY%s, got %s", want, got)
			}
			p.closed()
			if err := next(t, ended); err == nil {
				t.Error("expected the handler's stream to be cut off")
			}
		})
	}
}

// TestAPeerThatNeverReadsIsCutOff: a peer that causes answers and reads none of them, before they fill the memory.
func TestAPeerThatNeverReadsIsCutOff(t *testing.T) {
	t.Log("slow: writes until all buffers of the way are full, once for each kind of frame")
	for name, ask := range map[string]func(p *peer, round uint32) error{
		"pings":    func(p *peer, _ uint32) error { return p.WritePing(false, [8]byte{}) },
		"settings": func(p *peer, _ uint32) error { return p.WriteSettings() },
		"streams of no method": func(p *peer, round uint32) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*round + 3, BlockFragment: []byte{0x83}, EndHeaders: true})
		},
		"streams that end": func(p *peer, round uint32) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*round + 3, BlockFragment: p.block(method), EndHeaders: true, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, func(*grpcstream.Stream) error { return status.Error(codes.Aborted, strings.Repeat("x", 4000)) }).dial(t)
			p.openAt(1, method, true)
			p.settle()
			for round := range uint32(1_000_000) {
				if err := ask(p, round); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				} else if err != nil {
					return // cut off
				}
			}
			t.Error("was served to the end")
		})
	}
}

// TestAPeerThatReadsIsNotCutOff, however many answers it causes.
func TestAPeerThatReadsIsNotCutOff(t *testing.T) {
	p := serve(t, echo).dial(t)
	go func() {
		for range 260_000 {
			_ = p.WritePing(false, [8]byte{'q'})
		}
	}()
	for range 260_000 {
		p.expect("PING ACK: q")
	}
}

// TestManySettingsInAFrame: only the last values are applied to the streams.
func TestManySettingsInAFrame(t *testing.T) {
	p := serve(t, echo).dial(t)
	p.open(1)
	settings := make([]http2.Setting, 0, 2000)
	for n := range cap(settings) {
		settings = append(settings, initialWindow(n))
	}
	p.settings(settings...)
	p.expect("SETTINGS ACK")
	p.send(1, strings.Repeat("x", 1994))
	p.expect(opened(1), "DATA 1: 1999 bytes")
}

func TestWrongPreface(t *testing.T) {
	p := serve(t, echo).connect(t)
	p.write("GET /healthz HTTP/1.1\r\nhost: engine\r\n\r\n")
	p.until("GOAWAY 0: PROTOCOL_ERROR")
	p.closed()
}

func TestHeadersOf64KiB(t *testing.T) {
	p := serve(t, echo).dial(t)
	for _, id := range []uint32{1, 3} {
		p.opens(id)
		longHeaders(p, id, 64<<10)
		p.expect(fmt.Sprintf("HEADERS %d END: %s", id, unknownMethod), fmt.Sprintf("RST_STREAM %d: NO_ERROR", id))
	}
}

// TestViolationOnAStream ends only the stream.
func TestViolationOnAStream(t *testing.T) {
	ended := make(chan error, 2)
	p := serve(t, reporting(ended, echo)).dial(t)
	p.open(1)
	p.open(3)
	credit(1, 0)(p)
	p.expect("RST_STREAM 1: PROTOCOL_ERROR")
	expectCode(t, codes.Internal, next(t, ended))
	p.send(1, "late")
	p.quiet()
	p.exchange(3, "hello")
}

// TestRefusedHeadersLeaveNoPath: a stream whose headers were refused is not opened by later headers.
func TestRefusedHeadersLeaveNoPath(t *testing.T) {
	started := make(chan error, 2)
	p := serve(t, reporting(started, sink)).dial(t)
	p.openAt(1, method, true)
	p.until("HEADERS 1 END: :status=200, content-type=application/grpc, grpc-status=0")
	p.opens(3)
	raw(http2.FrameHeaders, http2.FlagHeadersPadded, 3, 9, 0)(p)
	_ = p.WriteContinuation(3, true, nil) // fails where the connection has ended
	for frame := ""; !strings.HasPrefix(frame, "GOAWAY"); frame = p.read() {
		if strings.HasPrefix(frame, "HEADERS 3") {
			t.Fatal("a stream was opened by headers that were refused")
		}
	}
}
