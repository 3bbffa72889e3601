package xds_test

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/bundletest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// fails is the common part of testing.T and rapid.T.
type fails interface {
	Helper()
	Fatalf(format string, args ...any)
}

func serialized(t fails, into proto.Message, text string) []byte {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	wire, err := proto.Marshal(into)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return wire
}

func route(t fails, text string) []byte   { return serialized(t, &routev3.Route{}, text) }
func cluster(t fails, text string) []byte { return serialized(t, &clusterv3.Cluster{}, text) }
func bundle(t fails, m *nodev1.ApiBundle) *xds.Bundle {
	t.Helper()
	parsed, err := xds.ParseBundle(m, xds.ExtProc)
	if err != nil {
		t.Fatalf("parse %s: %v", m.GetApi(), err)
	}
	return parsed
}

// answering is an API whose every path is answered by Envoy itself, with the API's name.
func answering(t fails, api, context string, hosts ...string) *xds.Bundle {
	t.Helper()
	return bundle(t, answeringMessage(t, api, context, hosts...))
}

func answeringMessage(t fails, api, context string, hosts ...string) *nodev1.ApiBundle {
	return &nodev1.ApiBundle{Api: api, Digest: "1", Context: context, Hosts: hosts, FirstRoute: bundletest.FirstRoute(api), Routes: [][]byte{route(t, fmt.Sprintf(
		`{"name":"%s|GET /*|","match":{"prefix":"/"},"directResponse":{"status":200,"body":{"inlineString":"%s"}}}`, api, api))}}
}

func compose(t fails, bundles ...*xds.Bundle) xds.Resource {
	t.Helper()
	return xds.Compose(bundles, xds.Front{})
}

func staticCluster(t *testing.T, name string, port int) []byte {
	return cluster(t, fmt.Sprintf(`{"name":%q,"type":"STATIC","connectTimeout":"1s","loadAssignment":{"clusterName":%q,"endpoints":[
		{"lbEndpoints":[{"endpoint":{"address":{"socketAddress":{"address":"127.0.0.1","portValue":%d}}}}]}]}}`, name, name, port))
}
