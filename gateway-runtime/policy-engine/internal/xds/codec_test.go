package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestAResponseIsSentAsProtobufWouldSendIt(t *testing.T) {
	parts := newRopeResource("routes", RouteType, ropeOf([]byte("one "), []byte("two "), []byte("three")))
	cluster := newResource("c", ClusterType, []byte("cluster"))
	for _, resources := range []Resources{{}, {"c": cluster}, {"c": cluster, "routes": parts}} {
		sub := &subscription{wildcard: true, has: map[string]string{"gone": "1"}}
		sent := sub.difference(resources)
		sent.head.Nonce, sent.head.TypeUrl, sent.head.SystemVersionInfo = "3", RouteType, "7"
		want, _ := proto.Clone(sent.head).(*discoveryv3.DeltaDiscoveryResponse)
		for _, resource := range want.GetResources() {
			of := resources[resource.GetName()]
			resource.Resource = &anypb.Any{TypeUrl: of.typeURL, Value: of.Text()}
		}
		buffers, err := Codec{}.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		got := &discoveryv3.DeltaDiscoveryResponse{}
		if err := (Codec{}).Unmarshal(buffers, got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("expected %v, got %v", want, got)
		}
	}
	if string(parts.Text()) != "one two three" || parts.Version != newResource("routes", RouteType, []byte("one two three")).Version {
		t.Error("expected the parts to be one text, with its version")
	}
}

func TestOtherMessagesAreSentAsEver(t *testing.T) {
	request := &discoveryv3.DeltaDiscoveryRequest{ResponseNonce: "3"}
	buffers, err := Codec{}.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	got := &discoveryv3.DeltaDiscoveryRequest{}
	if err := (Codec{}).Unmarshal(buffers, got); err != nil || !proto.Equal(got, request) {
		t.Errorf("expected %v, got %v, %v", request, got, err)
	}
}
