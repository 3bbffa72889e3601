package extproc

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// codec is gRPC's way to incoming and outgoing messages.
type codec struct{}

// Name is that of the encoding: protobuf.
func (codec) Name() string { return "proto" }

// Marshal takes an *outgoing.
func (codec) Marshal(message any) (mem.BufferSlice, error) {
	encoded, ok := message.(*outgoing)
	if !ok {
		return nil, fmt.Errorf("ext_proc: expected an encoded message to send, got %T", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(*encoded)}, nil
}

// Unmarshal fills an *incoming.
func (codec) Unmarshal(data mem.BufferSlice, message any) error {
	into, ok := message.(*incoming)
	if !ok {
		return fmt.Errorf("ext_proc: expected room for an incoming message, got %T", message)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	return into.decode(whole.ReadOnlyData())
}

// service is ext_proc as generated code has it, without its messages.
var service = grpc.ServiceDesc{
	ServiceName: servicev3.ExternalProcessor_ServiceDesc.ServiceName,
	Metadata:    servicev3.ExternalProcessor_ServiceDesc.Metadata,
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{
		StreamName: "Process", ServerStreams: true, ClientStreams: true,
		Handler: func(server any, stream grpc.ServerStream) error { return server.(*Server).Process(stream) },
	}},
}
