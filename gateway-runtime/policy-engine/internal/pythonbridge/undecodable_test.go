package pythonbridge

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// rawCodec lets a script send bytes that are not a message.
type rawCodec struct{}

func (rawCodec) Name() string                      { return "proto" }
func (rawCodec) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, into any) error {
	*into.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// serveRaw sends hello, receives one frame and answers it with garbage, on every stream.
func serveRaw(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if strings.HasSuffix(method, "/HealthCheck") {
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		return sendRaw(stream, &executorv1.HealthCheckResponse{Serving: true})
	}
	if err := sendRaw(stream, &executorv1.ReplyFrame{Hello: &executorv1.Hello{}}); err != nil {
		return err
	}
	var frame []byte
	if err := stream.RecvMsg(&frame); err != nil {
		return err
	}
	garbage := []byte{0xff}
	if err := stream.SendMsg(&garbage); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func sendRaw(stream grpc.ServerStream, message proto.Message) error {
	data, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	return stream.SendMsg(&data)
}

func TestUndecodableReplyBreaksTheStream(t *testing.T) {
	x := newExecutor(t)
	listener := x.listen(t)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(serveRaw))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	groups := connect(t, Options{}, x)
	ready(t, groups)
	refused := await.Receive(t, build(groups), "the refusal").err // the stream broke twice while it configured
	wantClass(t, refused, v1alpha.ClassCrashed)
	await.Until(t, "it to connect again", func() bool { return statsOf(groups, 0).Reconnects >= 2 })
}
