package xds_test

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/internal/xds"
)

func TestTheCodecSendsWhatProtobufWouldSend(t *testing.T) {
	routes := compose(t, answering(t, "a", "/a"), answering(t, "b", "/b"))
	response := &discoveryv3.DeltaDiscoveryResponse{SystemVersionInfo: "7", TypeUrl: xds.RouteType, Nonce: "3", RemovedResources: []string{"x", "y"},
		Resources: []*discoveryv3.Resource{{Name: routes.Name, Version: routes.Version, Resource: routes.Body}, {Name: "second", Version: "v", Resource: routes.Body}}}
	for _, message := range []proto.Message{response, &discoveryv3.DeltaDiscoveryResponse{}, &discoveryv3.DeltaDiscoveryRequest{ResponseNonce: "3"}} {
		text, err := xds.Codec{}.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		got := message.ProtoReflect().New().Interface()
		if err := (xds.Codec{}).Unmarshal(text, got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, message) {
			t.Errorf("expected %v, got %v", message, got)
		}
	}
}
