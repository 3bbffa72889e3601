package controller

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// refusedStream is a stream that the controller has refused before the hello was sent on it.
type refusedStream struct {
	nodev1.NodeServiceClient
	grpc.BidiStreamingClient[nodev1.NodeMessage, nodev1.ControllerMessage]
}

func (r refusedStream) Sync(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[nodev1.NodeMessage, nodev1.ControllerMessage], error) {
	return r, nil
}

func (refusedStream) Send(*nodev1.NodeMessage) error { return io.EOF }

func (refusedStream) Recv() (*nodev1.ControllerMessage, error) {
	return nil, status.Error(codes.Unauthenticated, "expected a token")
}

func TestARefusalReadsTheSameBeforeAndAfterTheHello(t *testing.T) {
	client := Client{
		Inbox: NewInbox(), Outbox: NewOutbox(),
		Hello:       func() *nodev1.Hello { return &nodev1.Hello{} },
		FirstReport: func() *nodev1.Report { return nil },
	}
	_, err := client.syncStream(t.Context(), refusedStream{})
	if end := status.Convert(err); end.Code() != codes.Unauthenticated || end.Message() != "expected a token" {
		t.Errorf("expected the controller's reason alone, got %v", err)
	}
}
