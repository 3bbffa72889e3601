package xds

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that Codec extends
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/anypb"
)

var (
	responsesField = fieldOf(&discoveryv3.DeltaDiscoveryResponse{}, "resources")
	resourceField  = fieldOf(&discoveryv3.Resource{}, "resource")
)

// Codec is gRPC's codec of protobuf messages for a server of NewServer. It sends resources without copying them: the routes of
// thousands of APIs are tens of megabytes.
type Codec struct{}

// Name is the name of the codec of protobuf messages.
func (Codec) Name() string { return "proto" }

// Marshal serializes a message.
func (Codec) Marshal(message any) (mem.BufferSlice, error) {
	response, isDelta := message.(*discoveryv3.DeltaDiscoveryResponse)
	if !isDelta {
		return encoding.GetCodecV2("proto").Marshal(message)
	}
	ropes := []rope{serialized(&discoveryv3.DeltaDiscoveryResponse{SystemVersionInfo: response.GetSystemVersionInfo(),
		TypeUrl: response.GetTypeUrl(), RemovedResources: response.GetRemovedResources(), Nonce: response.GetNonce()})}
	for _, resource := range response.GetResources() {
		body := concat(serialized(&anypb.Any{TypeUrl: resource.GetResource().GetTypeUrl()}), ropeOf(resource.GetResource().GetValue()).in(valueField))
		head := serialized(&discoveryv3.Resource{Name: resource.GetName(), Version: resource.GetVersion()})
		ropes = append(ropes, concat(head, body.in(resourceField)).in(responsesField))
	}
	var buffers mem.BufferSlice
	for _, part := range concat(ropes...).parts {
		buffers = append(buffers, mem.SliceBuffer(part))
	}
	return buffers, nil
}

// Unmarshal decodes a message.
func (Codec) Unmarshal(data mem.BufferSlice, message any) error {
	return encoding.GetCodecV2("proto").Unmarshal(data, message)
}
