package grpcstream_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/grpcstream"
	"gatewright.dev/policy-engine/internal/property"
)

// pattern returns bytes that repeat only at a distance.
func pattern(size int) []byte {
	text := make([]byte, size)
	for at := range text {
		text[at] = byte(at ^ at>>8 ^ at>>16)
	}
	return text
}

func TestMessagesOfAllSizes(t *testing.T) {
	call := open(t, serve(t, echo).client(t))
	for _, size := range []int{0, 1, 16379, 16380, 70_000, 1 << 20, 5 << 20} {
		message := pattern(size)
		call.send(message)
		if got := call.receive(); !bytes.Equal(message, got) {
			t.Errorf("expected %d bytes as they were, got %d", size, len(got))
		}
	}
	call.close()
	expectCode(t, codes.OK, call.end())
}

func TestManyStreamsOnOneConnection(t *testing.T) {
	client := serve(t, echo).client(t)
	anyMessage := rapid.Map(rapid.SampledFrom([]int{0, 1, 100, 16379, 16380, 100_000}), pattern)
	property.Check(t, func(t *rapid.T) {
		var calls sync.WaitGroup
		for _, messages := range rapid.SliceOfN(rapid.SliceOfN(anyMessage, 0, 5), 1, 12).Draw(t, "messages by stream") {
			call := open(t, client)
			calls.Go(func() { call.sendAll(messages) })
			calls.Go(func() { call.expectAll(messages) })
		}
		calls.Wait()
	})
}

func (c call) sendAll(messages [][]byte) {
	for _, message := range messages {
		c.send(message)
	}
	c.close()
}

func (c call) expectAll(messages [][]byte) {
	for at, message := range messages {
		if got := c.receive(); !bytes.Equal(message, got) {
			c.t.Errorf("message %d: expected %d bytes as they were, got %d", at, len(message), len(got))
		}
	}
	expectCode(c.t, codes.OK, c.end())
}

func TestMessagesAfterTheHalfClose(t *testing.T) {
	call := open(t, serve(t, func(stream *grpcstream.Stream) error {
		if err := sink(stream); err != nil {
			return err
		}
		return stream.Send([]byte("all came"), nil)
	}).client(t))
	call.send([]byte("one"))
	call.close()
	call.expect("all came")
	expectCode(t, codes.OK, call.end())
}

// ---------------------------------------------------------------- statuses

// expectStatus fails unless an error is a status of the code and the text.
func expectStatus(t tester, err error, code codes.Code, text string) {
	t.Helper()
	if got := status.Convert(err); got.Code() != code || got.Message() != text {
		t.Errorf("expected %v %.200q, got %v %.200q", code, text, got.Code(), got.Message())
	}
}

var (
	anyCode = rapid.Map(rapid.Uint32Range(1, 16), func(code uint32) codes.Code { return codes.Code(code) })
	anyText = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "plain", "100% sure, 50%25", "tab\tline\nreturn\r\x00\x7f", "é 漢字 🙂", " spaces ", `"quoted" ~tilde`, strings.Repeat("long ", 800),
	}))
)

// failing ends with the status that a message names, a code and a text, or echoes it if the code is 0.
func failing(stream *grpcstream.Stream) error {
	return each(stream, func(message []byte) error {
		if message[0] == 0 {
			return stream.Send(message, nil)
		}
		return status.Error(codes.Code(message[0]), string(message[1:]))
	})
}

func TestStatuses(t *testing.T) {
	client := serve(t, failing).client(t)
	property.Check(t, func(t *rapid.T) {
		code, text := anyCode.Draw(t, "code"), anyText.Draw(t, "text")
		call := open(t, client)
		if rapid.Bool().Draw(t, "after a message") {
			call.echoes("\x00hello")
		}
		call.send(append([]byte{byte(code)}, text...))
		if rapid.Bool().Draw(t, "after the half-close") {
			call.close()
		}
		expectStatus(t, call.end(), code, text)
	})
}

// TestLongStatus: its beginning fits in the frame that ends the stream.
func TestLongStatus(t *testing.T) {
	text := strings.Repeat("é", 10_000)
	call := open(t, serve(t, func(*grpcstream.Stream) error { return status.Error(codes.Aborted, text) }).client(t))
	expectStatus(t, call.end(), codes.Aborted, text[:4096])
}

func TestErrorWithoutStatus(t *testing.T) {
	call := open(t, serve(t, func(*grpcstream.Stream) error { return errors.New("just so") }).client(t))
	expectStatus(t, call.end(), codes.Unknown, "just so")
}

func TestUnknownMethod(t *testing.T) {
	client := serve(t, func(*grpcstream.Stream) error {
		t.Error("the handler was called")
		return nil
	}).client(t)
	for _, path := range []string{"/test.Service/Other", "/", method + "/"} {
		expectCode(t, codes.Unimplemented, openAt(t, client, path).end())
	}
}

func TestCompressedMessage(t *testing.T) {
	call := open(t, serve(t, echo).client(t), grpc.UseCompressor(gzip.Name))
	call.send(pattern(1000))
	expectStatus(t, call.end(), codes.Unimplemented, "expected messages that are not compressed")
}

// ---------------------------------------------------------------- cancellation

func TestCancelledCall(t *testing.T) {
	receiving, sending := make(chan error, 1), make(chan error, 1)
	call := open(t, serve(t, func(stream *grpcstream.Stream) error {
		if stream.Context().Err() != nil {
			t.Error("expected the context not to be done")
		}
		receiving <- echo(stream)
		<-stream.Context().Done()
		sending <- stream.Send([]byte("late"), nil)
		return nil
	}).client(t))
	call.echoes("hello")
	call.cancel()
	expectCode(t, codes.Canceled, next(t, receiving))
	expectCode(t, codes.Canceled, next(t, sending))
	expectCode(t, codes.Canceled, call.end())
}

func TestClosedClient(t *testing.T) {
	ended := make(chan error, 10)
	client := serve(t, reporting(ended, echo)).client(t)
	for range cap(ended) {
		open(t, client).echoes("hello")
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		expectCode(t, codes.Canceled, next(t, ended))
	}
}

// TestContextEndsWithTheHandler: work that a handler has started ends with it.
func TestContextEndsWithTheHandler(t *testing.T) {
	streams := make(chan *grpcstream.Stream, 1)
	call := open(t, serve(t, func(stream *grpcstream.Stream) error {
		streams <- stream
		return nil
	}).client(t))
	expectCode(t, codes.OK, call.end())
	next(t, next(t, streams).Context().Done())
}
