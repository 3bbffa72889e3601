package xds

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that Codec extends
	"google.golang.org/grpc/mem"
)

var (
	responsesField = fieldOf(&discoveryv3.DeltaDiscoveryResponse{}, "resources")
	resourceField  = fieldOf(&discoveryv3.Resource{}, "resource")
)

// Codec is gRPC's codec of protobuf messages for the transport of a Server. It sends resources without copying them: the routes of
// thousands of APIs are tens of megabytes.
type Codec struct{}

// Name is the name of the codec of protobuf messages.
func (Codec) Name() string { return "proto" }

// Marshal serializes a message.
func (Codec) Marshal(message any) (mem.BufferSlice, error) {
	sent, isResponse := message.(*response)
	if !isResponse {
		return encoding.GetCodecV2("proto").Marshal(message)
	}
	var buffers mem.BufferSlice
	for _, part := range sent.rope().parts {
		buffers = append(buffers, mem.SliceBuffer(part))
	}
	return buffers, nil
}

// Unmarshal decodes a message.
func (Codec) Unmarshal(data mem.BufferSlice, message any) error {
	return encoding.GetCodecV2("proto").Unmarshal(data, message)
}

func (r *response) rope() rope {
	ropes := []rope{serialized(&discoveryv3.DeltaDiscoveryResponse{SystemVersionInfo: r.head.GetSystemVersionInfo(), TypeUrl: r.head.GetTypeUrl(),
		RemovedResources: r.head.GetRemovedResources(), Nonce: r.head.GetNonce()})}
	for n, resource := range r.head.GetResources() {
		body := concat(serialized(resource.GetResource()), r.contents[n].in(valueField))
		head := serialized(&discoveryv3.Resource{Name: resource.GetName(), Version: resource.GetVersion()})
		ropes = append(ropes, concat(head, body.in(resourceField)).in(responsesField))
	}
	return concat(ropes...)
}
