package xds_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3" // the test names it in an Any
	"google.golang.org/grpc"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/bundletest"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

func startServer(t *testing.T) (*xds.Server, string) {
	t.Helper()
	directory := envoytest.Directory(t)
	server := xds.NewServer(envoytest.NodeID, quiet)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(directory, "xds"))
	if err != nil {
		t.Fatal(err)
	}
	transport := grpc.NewServer(grpc.ForceServerCodecV2(xds.Codec{}))
	server.Register(transport)
	go func() { _ = transport.Serve(listener) }()
	t.Cleanup(transport.Stop)
	return server, directory
}

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func waitConnected(t *testing.T, server *xds.Server) {
	t.Helper()
	await.Receive(t, server.Connected(), "a connection of Envoy's")
}

func TestEnvoyRoutesByTheLongestContextOnSegmentBoundaries(t *testing.T) {
	server, directory := startServer(t)
	config := compose(t, answering(t, "root", "/"), answering(t, "orders", "/orders"), answering(t, "nested", "/orders/v1.0"),
		answering(t, "ord", "/ord"), answering(t, "named", "/orders", "named.example"), answering(t, "wild", "/wild", "*.example"),
		answering(t, "wilder", "/wild", "*.b.example"))
	_ = server.SetRoutes(t.Context(), config)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, await.Limit), config); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, path, api string }{
		{"a", "/", "root"}, {"a", "/orders", "orders"}, {"a", "/orders?x=1", "orders"}, {"a", "/orders/", "orders"},
		{"a", "/orders/1?x", "orders"}, {"a", "/ordersX", "root"}, {"a", "/ordersX/1", "root"}, {"a", "/order", "root"},
		{"a", "/ord/orders", "ord"}, {"a", "/orders/v1.0", "nested"}, {"a", "/orders/v1.0/2", "nested"},
		{"a", "/orders/v1.0.1", "orders"}, {"a", "/orders/v1", "orders"}, {"a", "/orders//v1.0/x", "nested"},
		{"a", "/x/../orders/1", "orders"}, {"a", "/wild", "root"}, {"named.example", "/orders/1", "named"},
		{"named.example:80", "/orders/1", "named"}, {"named.example", "/wild", "wild"}, {"NAMED.example", "/other", "root"},
		{"named.example", "/orders/v1.0", "nested"}, {"b.example", "/wild/1", "wild"}, {"b.example", "/orders", "orders"},
		{"x.b.example", "/wild", "wilder"}, {"x.b.example", "/orders", "orders"}, {"x.c.example", "/wild", "wild"},
	} {
		if status, body := envoy.Get(c.host, c.path); body != c.api {
			t.Errorf("%s%s: expected %q, got %d %q", c.host, c.path, c.api, status, body)
		}
	}
}

func TestEnvoyAcknowledgesStagedClustersAndRoutes(t *testing.T) {
	upstream := envoytest.Upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "upstream") })
	server, directory := startServer(t)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	api := bundle(t, &nodev1.ApiBundle{Api: "a", Context: "/a", FirstRoute: bundletest.FirstRoute("a"),
		Routes:   [][]byte{route(t, `{"name":"a|GET /|","match":{"prefix":"/a"},"route":{"cluster":"a|1"}}`)},
		Clusters: [][]byte{staticCluster(t, "a|1", upstream)}})
	if err := server.SetClusters(within(t, await.Limit), xds.Clusters([]*xds.Bundle{api})); err != nil {
		t.Fatal(err)
	}
	if err := server.SetRoutes(within(t, await.Limit), compose(t, api)); err != nil {
		t.Fatal(err)
	}
	envoy.Until("h", "/a", "upstream")
	if err := server.SetRoutes(within(t, await.Limit), compose(t)); err != nil {
		t.Fatal(err)
	}
	if err := server.SetClusters(within(t, await.Limit), xds.Resources{}); err != nil {
		t.Fatal(err)
	}
	envoy.Until("h", "/a", "")
}

func TestEnvoyRefusalIsReportedAndTheLastGoodRoutesStay(t *testing.T) {
	server, directory := startServer(t)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	good := answering(t, "good", "/good")
	if err := server.SetRoutes(within(t, await.Limit), compose(t, good)); err != nil {
		t.Fatal(err)
	}
	// A per-filter configuration of a filter type that Envoy does not have: no validator of ours can know.
	bad := bundle(t, &nodev1.ApiBundle{Api: "bad", Context: "/bad", FirstRoute: bundletest.FirstRoute("bad"), Routes: [][]byte{route(t,
		`{"name":"bad|GET /|","match":{"prefix":"/"},"directResponse":{"status":200},"typedPerFilterConfig":{"x":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}}`)}})
	err := server.SetRoutes(within(t, await.Limit), compose(t, good, bad))
	var refused *xds.RefusedError
	if !errors.As(err, &refused) || refused.Reason == "" || refused.TypeURL != xds.RouteType {
		t.Fatalf("expected a refusal with Envoy's reason, got %v", err)
	}
	envoy.Until("h", "/good", "good")
	if err := server.SetRoutes(within(t, await.Limit), compose(t, good)); err != nil {
		t.Fatalf("going back to what was good: %v", err)
	}
}

// Envoy holds back its acknowledgement of clusters while one warms; taking that one away frees it.
func TestAnUnresolvedUpstreamHoldsBackClustersUntilItIsRemoved(t *testing.T) {
	server, directory := startServer(t)
	envoytest.Start(t, directory)
	waitConnected(t, server)
	if err := server.SetClusters(within(t, await.Limit), xds.Resources{}); err != nil {
		t.Fatal(err)
	}
	silent := envoytest.SilentDNS(t)
	good := staticCluster(t, "good|1", 1)
	held := cluster(t, fmt.Sprintf(`{"name":"held|1","type":"STRICT_DNS","connectTimeout":"1s","loadAssignment":{"clusterName":"held|1","endpoints":[
		{"lbEndpoints":[{"endpoint":{"address":{"socketAddress":{"address":"nowhere.example","portValue":80}}}}]}]},
		"typedDnsResolverConfig":{"name":"envoy.network.dns_resolver.cares","typedConfig":{
			"@type":"type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
			"resolvers":[{"socketAddress":{"address":"127.0.0.1","portValue":%d}}]}}}`, silent))
	both := xds.Clusters([]*xds.Bundle{
		bundle(t, &nodev1.ApiBundle{Api: "good", Context: "/good", FirstRoute: bundletest.FirstRoute("good"), Clusters: [][]byte{good}}),
		bundle(t, &nodev1.ApiBundle{Api: "held", Context: "/held", FirstRoute: bundletest.FirstRoute("held"), Clusters: [][]byte{held}})})
	if err := server.SetClusters(within(t, time.Second), both); !errors.Is(err, xds.ErrNoAnswer) {
		t.Fatalf("expected no answer while the name does not resolve, got %v", err)
	}
	delete(both, "held|1")
	if err := server.SetClusters(within(t, await.Limit), both); err != nil {
		t.Fatalf("without the cluster that holds back: %v", err)
	}
}

func TestARestartedEnvoyIsSentTheSetResources(t *testing.T) {
	server, directory := startServer(t)
	config := compose(t, answering(t, "a", "/a"))
	_ = server.SetRoutes(t.Context(), config)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, await.Limit), config); err != nil {
		t.Fatal(err)
	}
	envoy.Until("h", "/a", "a")
	envoy.Stop()
	await.Until(t, "the server knows that Envoy has gone", func() bool { return !server.Stats().EnvoyConnected })
	second := envoytest.Start(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, await.Limit), config); err != nil {
		t.Fatal(err)
	}
	second.Until("h", "/a", "a")
}
