package grpcstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	"gatewright.dev/policy-engine/internal/grpcstream"
)

// textOf is the text of a message that has the size with its prefix.
func textOf(size int) string { return strings.Repeat("x", size-5) }

// expect fails unless a stream has brought these data.
func (a *answer) expect(t tester, want []byte) {
	t.Helper()
	if !bytes.Equal(want, a.data) {
		t.Errorf("expected %d bytes, got %d others", len(want), len(a.data))
	}
}

// ---------------------------------------------------------------- sending

func TestStreamWindowIsKept(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(100))
	p.open(1)
	p.send(1, textOf(250))
	p.expect(opened(1), "DATA 1: 100 bytes")
	p.quiet()
	p.open(3) // goes on meanwhile
	p.exchange(3, "hello")
	p.grant(1, 99)
	p.expect("DATA 1: 99 bytes")
	p.quiet()
	p.grant(1, 1)
	p.expect("DATA 1: 1 bytes")
	p.grant(1, 1000)
	p.expect("DATA 1: 50 bytes")
	p.answers[1].expect(t, message(textOf(250)))
	p.end(1)
	p.expect(done(1))
}

func TestConnectionWindowIsKept(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(1<<20))
	p.open(1)
	p.send(1, textOf(100_000))
	p.until(opened(1))
	p.expect("DATA 1: 16384 bytes", "DATA 1: 16384 bytes", "DATA 1: 16384 bytes", "DATA 1: 16383 bytes")
	p.quiet()
	p.grant(1, 1000)
	p.quiet()
	p.grant(0, 1<<20)
	p.expect("DATA 1: 16384 bytes", "DATA 1: 16384 bytes", "DATA 1: 1697 bytes")
	p.answers[1].expect(t, message(textOf(100_000)))
}

func TestFrameSizeIsKept(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(1<<20), http2.Setting{ID: http2.SettingMaxFrameSize, Val: 20_000})
	p.open(1)
	p.send(1, textOf(20_000))
	p.expect(opened(1), "DATA 1: 20000 bytes")
	p.send(1, textOf(20_001))
	p.expect("DATA 1: 20000 bytes", "DATA 1: 1 bytes")
}

func TestSettingsChangeTheWindowsOfOpenStreams(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(100))
	p.open(1)
	p.send(1, textOf(300))
	p.expect(opened(1), "DATA 1: 100 bytes")
	p.settings(initialWindow(130))
	p.expect("SETTINGS ACK", "DATA 1: 30 bytes")
	p.settings(initialWindow(40)) // the stream's is at -90
	p.expect("SETTINGS ACK")
	p.quiet()
	p.grant(1, 90)
	p.quiet()
	p.grant(1, 10)
	p.expect("DATA 1: 10 bytes")
	p.settings(initialWindow(1000))
	p.expect("SETTINGS ACK", "DATA 1: 160 bytes")
	p.answers[1].expect(t, message(textOf(300)))
}

func TestSettingsChangeTheWindowsOfNewStreams(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(100))
	p.settings(initialWindow(10))
	p.expect("SETTINGS ACK")
	p.open(1)
	p.send(1, textOf(30))
	p.expect(opened(1), "DATA 1: 10 bytes")
	p.quiet()
}

func TestLastOfTwoSettingsHolds(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(0), initialWindow(1000))
	p.open(1)
	p.exchange(1, "hello")
}

func TestResetEndsASendThatWaits(t *testing.T) {
	ended := make(chan error, 1)
	p := serve(t, reporting(ended, func(stream *grpcstream.Stream) error {
		err := stream.Send(make([]byte, 200), make([]byte, 45))
		if stream.Context().Err() == nil {
			t.Error("expected the context to be done")
		}
		return err
	})).dial(t, initialWindow(100))
	p.open(1)
	p.expect(opened(1), "DATA 1: 100 bytes")
	p.reset(1)
	expectCode(t, codes.Canceled, next(t, ended))
	p.grant(1, 1000)
	p.quiet()
}

// ---------------------------------------------------------------- receiving

func TestCreditNeverRunsOut(t *testing.T) {
	var received atomic.Int64
	p := serve(t, func(stream *grpcstream.Stream) error {
		return each(stream, func(message []byte) error {
			received.Add(int64(len(message)) + 5)
			return nil
		})
	}).dial(t)
	ids, total := []uint32{1, 3, 5}, 48*streamWindow
	for _, id := range ids {
		p.open(id)
	}
	for sent := 0; sent < total; sent += total / 48 {
		for _, id := range ids {
			p.send(id, textOf(total/48))
		}
	}
	for _, id := range ids {
		p.end(id)
		for p.answers[id].end == "" {
			p.read()
		}
	}
	if want := int64(len(ids) * total); received.Load() != want || want <= connectionWindow {
		t.Errorf("expected %d bytes, got %d", want, received.Load())
	}
}

func TestMessageLongerThanTheWindow(t *testing.T) {
	p := serve(t, echo).dial(t, initialWindow(1<<30))
	p.grant(0, 1<<30)
	p.open(1)
	p.send(1, textOf(5*streamWindow+1))
	p.end(1)
	p.until(done(1))
	p.answers[1].expect(t, message(textOf(5*streamWindow+1)))
}

func TestPaddingIsCredited(t *testing.T) {
	p := serve(t, sink).dial(t)
	p.open(1)
	padding, piece := make([]byte, 255), message("x")
	size := 1 + len(piece) + len(padding)
	for range 3 * streamWindow / size {
		for p.ours.room(1) < size {
			p.read()
		}
		p.ours.spend(1, size)
		p.check(p.WriteDataPadded(1, false, piece, padding))
	}
	p.settle()
	if got := p.ours.connection; got < connectionWindow*3/4 {
		t.Errorf("expected most of the connection's window, got %d", got)
	}
}

// TestUnreadStreamBlocksNoOther: it has no more credit, but the connection has.
func TestUnreadStreamBlocksNoOther(t *testing.T) {
	read := make(chan struct{})
	p := serve(t, func(stream *grpcstream.Stream) error {
		if first, err := stream.Receive(stream.Context()); err != nil || string(first) != "wait" {
			return sink(stream)
		}
		holdUntil(stream, read)
		return sink(stream)
	}).dial(t)
	p.open(1)
	p.send(1, "wait")
	p.send(1, textOf(p.ours.room(1)))
	p.open(3)
	for range 2 * connectionWindow / streamWindow {
		p.send(3, textOf(streamWindow))
	}
	if got := p.ours.streams[1]; got > 0 {
		t.Errorf("expected no credit for an unread stream, got %d", got)
	}
	close(read)
	p.send(1, textOf(streamWindow))
}

// TestSlowHandlerSlowsThePeer: the bytes that a stream holds for its handler are bounded by its window.
func TestSlowHandlerSlowsThePeer(t *testing.T) {
	const size = 16 << 10
	turn := make(chan struct{})
	h := serve(t, func(stream *grpcstream.Stream) error {
		return each(stream, func([]byte) error {
			<-turn
			return stream.Send(nil, nil)
		})
	})
	defer close(turn)
	p := h.dial(t)
	p.open(1)
	sent := 0
	for received := range 20 {
		for p.ours.room(1) >= size {
			p.send(1, textOf(size))
			sent += size
		}
		if kept := sent - received*size; kept > streamWindow+2*size {
			t.Fatalf("%d messages were received, %d bytes are kept for later", received, kept)
		}
		turn <- struct{}{}
		p.until("DATA 1: ")
		p.settle()
	}
}

func TestNothingIsSentAfterAReset(t *testing.T) {
	ended := make(chan error, 1)
	p := serve(t, reporting(ended, func(stream *grpcstream.Stream) error {
		<-stream.Context().Done()
		return stream.Send([]byte("late"), nil)
	})).dial(t)
	p.open(1)
	p.reset(1)
	expectCode(t, codes.Canceled, next(t, ended))
	p.quiet()
}

func TestNoCreditIsGivenAfterTheEnd(t *testing.T) {
	read := make(chan struct{})
	p := serve(t, func(stream *grpcstream.Stream) error {
		holdUntil(stream, read)
		return sink(stream)
	}).dial(t)
	p.open(1)
	p.send(1, textOf(firstWindow*3/4))
	p.end(1)
	p.quiet()
	close(read)
	p.expect("HEADERS 1 END: :status=200, content-type=application/grpc, grpc-status=0")
}

func TestNoCreditIsGivenAfterAReset(t *testing.T) {
	ended := make(chan error, 1)
	p := serve(t, reporting(ended, func(stream *grpcstream.Stream) error {
		<-stream.Context().Done()
		_, err := stream.Receive(stream.Context())
		return err
	})).dial(t)
	p.open(1)
	p.send(1, textOf(firstWindow*3/4))
	p.reset(1)
	expectCode(t, codes.Canceled, next(t, ended))
	p.quiet()
}

// TestTheDefaultWindowHoldsUntilSettingsAreAcknowledged: until then the peer may use the window of RFC 9113, 6.9.2,
// which is larger (6.9.3).
func TestTheDefaultWindowHoldsUntilSettingsAreAcknowledged(t *testing.T) {
	const defaultWindow = 1<<16 - 1
	asked := make(chan struct{})
	p := serve(t, func(stream *grpcstream.Stream) error {
		select { // it gives no credit before
		case <-asked:
		case <-stream.Context().Done():
		}
		return echo(stream)
	}).connect(t)
	p.write(http2.ClientPreface)
	p.settings()
	p.open(1)
	p.data(1, message(textOf(defaultWindow))) // nothing that the server says has been read
	p.settle()
	close(asked)
	p.end(1)
	p.until(done(1))
	p.answers[1].expect(t, message(textOf(defaultWindow)))
}

// TestKeptBytesGetNoCredit: messages that are received and not used yet count against the stream's window.
func TestKeptBytesGetNoCredit(t *testing.T) {
	const size = 16 << 10
	var kept atomic.Int64
	release := make(chan int)
	h := serve(t, func(stream *grpcstream.Stream) error {
		go func() {
			for more := range release {
				stream.Keep(-more)
			}
		}()
		return each(stream, func(message []byte) error {
			stream.Keep(len(message))
			kept.Add(int64(len(message)))
			return stream.Send(nil, nil)
		})
	})
	defer close(release)
	p := h.dial(t)
	p.open(1)
	hasRoom := func() bool {
		for range 1000 { // until the handler waits again
			if p.settle(); p.ours.room(1) >= size {
				return true
			}
		}
		return false
	}
	for hasRoom() {
		p.send(1, textOf(size))
		p.until("DATA 1: ")
		if held := kept.Load(); held > streamWindow+size {
			t.Fatalf("%d bytes are kept", held)
		}
	}
	if held := kept.Load(); held < streamWindow/2 {
		t.Fatalf("no credit although only %d bytes are kept", held)
	}
	release <- int(kept.Load())
	release <- 0 // it has been given back
	if !hasRoom() {
		t.Fatal("no credit for what was given back")
	}
}

// TestAWaitThatEndsLosesNoMessage: the next call returns it.
func TestAWaitThatEndsLosesNoMessage(t *testing.T) {
	errGone := errors.New("gone")
	h := serve(t, func(stream *grpcstream.Stream) error {
		for range 100 {
			ctx, cancel := context.WithCancelCause(stream.Context())
			go cancel(errGone)
			message, err := stream.Receive(ctx)
			if errors.Is(err, errGone) {
				message, err = stream.Receive(stream.Context())
			}
			if err == nil {
				err = stream.Send(message, nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	p := h.dial(t)
	p.open(1)
	var want []byte
	for n := range 100 {
		text := fmt.Sprintf("message %d", n)
		p.send(1, text)
		want = append(want, message(text)...)
		p.until("DATA 1: " + text)
	}
	p.answers[1].expect(t, want)
}
