package grpcstream_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// bytesCodec passes messages through: *[]byte.
type bytesCodec struct{}

func (bytesCodec) Name() string                  { return "bytes" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

// client is grpc-go's.
func (h *host) client(t *testing.T) *grpc.ClientConn {
	client, err := grpc.NewClient("unix://"+h.path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// call is one call of a client.
type call struct {
	grpc.ClientStream
	t      tester
	cancel func()
}

func open(t tester, client *grpc.ClientConn, options ...grpc.CallOption) call {
	return openAt(t, client, method, options...)
}

func openAt(t tester, client *grpc.ClientConn, method string, options ...grpc.CallOption) call {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
	t.Cleanup(cancel)
	stream, err := start(ctx, client, method, options...)
	if err != nil {
		t.Fatal(err)
	}
	return call{ClientStream: stream, t: t, cancel: cancel}
}

func start(ctx context.Context, client *grpc.ClientConn, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return client.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, options...)
}

// opening is the error of opening a stream.
func opening(ctx context.Context, client *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithTimeout(ctx, await.Limit)
	defer cancel()
	_, err := start(ctx, client, method)
	return err
}

func (c call) send(message []byte) {
	c.t.Helper()
	if err := c.SendMsg(&message); err != nil {
		c.t.Errorf("send: %v", err)
	}
}

func (c call) receive() (message []byte) {
	c.t.Helper()
	if err := c.RecvMsg(&message); err != nil {
		c.t.Errorf("receive: %v", err)
	}
	return message
}

func (c call) expect(text string) {
	c.t.Helper()
	if got := string(c.receive()); got != text {
		c.t.Errorf("expected %q, got %q", text, got)
	}
}

func (c call) echoes(text string) {
	c.t.Helper()
	c.send([]byte(text))
	c.expect(text)
}

func (c call) close() {
	if err := c.CloseSend(); err != nil {
		c.t.Errorf("close: %v", err)
	}
}

// end is the status with which the call ends, after no more messages.
func (c call) end() error {
	c.t.Helper()
	var message []byte
	err := c.RecvMsg(&message)
	if err == nil {
		c.t.Errorf("expected the end, got a message of %d bytes", len(message))
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// TestTheAuthorityIsKeptWhereTheServerIsAskedTo.
func TestTheAuthorityIsKeptWhereTheServerIsAskedTo(t *testing.T) {
	for want, keep := range map[string]func(*grpcstream.Server){"shop": (*grpcstream.Server).KeepAuthority, "": func(*grpcstream.Server) {}} {
		authorities := make(chan string, 1)
		h := serveAs(t, func(s *grpcstream.Stream) error {
			authorities <- s.Authority()
			return nil
		}, keep)
		client, err := grpc.NewClient("unix://"+h.path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("shop"),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		open(t, client)
		if got := next(t, authorities); got != want {
			t.Errorf("expected %q, got %q", want, got)
		}
	}
}
