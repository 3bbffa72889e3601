package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/grpc"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

// runNode runs a node with short waits, without an engine around it, until the test ends.
func runNode(t *testing.T, directory, controller string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	server := xds.NewServer(envoytest.NodeID, log)
	n, err := node.New(node.Options{NodeID: envoytest.NodeID, Controller: controller, StateDir: directory + "/state",
		Table: &chain.Table{}, Envoy: server, Log: log,
		Timing: node.Timing{Acknowledge: time.Second, Probe: 500 * time.Millisecond, Retry: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	n.Restore(t.Context())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", directory+"/xds")
	if err != nil {
		t.Fatal(err)
	}
	transport := grpc.NewServer(grpc.ForceServerCodecV2(xds.Codec{}))
	server.Register(transport)
	go func() { _ = transport.Serve(listener) }()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		transport.Stop()
		n.Close()
	})
}

// unresolved is an API whose upstream's name never resolves: the DNS server stays silent.
func unresolved(t *testing.T, name, digest string, dns int) *nodev1.ApiBundle {
	t.Helper()
	bundle := api(t, name, digest, 1, "")
	bundle.Clusters[0] = serialized(t, &clusterv3.Cluster{}, fmt.Sprintf(`{"name":"%s|%s","type":"STRICT_DNS","connectTimeout":"1s",
		"loadAssignment":{"clusterName":"x","endpoints":[{"lbEndpoints":[{"endpoint":{"address":{"socketAddress":{"address":"nowhere.example","portValue":80}}}}]}]},
		"typedDnsResolverConfig":{"name":"envoy.network.dns_resolver.cares","typedConfig":{
			"@type":"type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
			"resolvers":[{"socketAddress":{"address":"127.0.0.1","portValue":%d}}]}}}`, name, digest, dns))
	return bundle
}

func TestAnUnresolvedUpstreamDelaysOtherAPIsOnlyBriefly(t *testing.T) {
	directory, upstream, dns := envoytest.Directory(t), startUpstream(t), envoytest.SilentDNS(t)
	c, address := startController(t, directory)
	runNode(t, directory, address)
	envoy := envoytest.Start(t, directory)
	envoy.Until("h", "/nothing", "")
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{
		api(t, "a", "1", upstream, ""), unresolved(t, "held", "1", dns), api(t, "b", "1", upstream, "")}})
	c.until(t, "a", "1", isApplied)
	c.until(t, "b", "1", isApplied)
	if reason := c.until(t, "held", "1", isPending); !strings.Contains(reason, "resolve") {
		t.Errorf("expected the reason to speak of the name, got %q", reason)
	}
	envoy.Until("h", "/a", "mark=")
	envoy.Until("h", "/b", "mark=")
	c.send(t, &nodev1.Update{Revision: 2, Bundles: []*nodev1.ApiBundle{api(t, "held", "2", upstream, "")}})
	c.until(t, "held", "2", isApplied)
	envoy.Until("h", "/held", "mark=")
}

// An Envoy that starts serves no clients before its clusters are warm. The state that it starts with may be a good one
// whose upstream's name has disappeared since.
func TestAnUnresolvedUpstreamDelaysAStartingEnvoyOnlyBriefly(t *testing.T) {
	directory, upstream, dns := envoytest.Directory(t), startUpstream(t), envoytest.SilentDNS(t)
	c, address := startController(t, directory)
	runNode(t, directory, address)
	c.send(t, &nodev1.Update{Revision: 1, Bundles: []*nodev1.ApiBundle{
		api(t, "a", "1", upstream, ""), unresolved(t, "held", "1", dns), api(t, "b", "1", upstream, "")}})
	envoy := envoytest.Start(t, directory)
	c.until(t, "a", "1", isApplied)
	c.until(t, "b", "1", isApplied)
	c.until(t, "held", "1", isPending)
	envoy.Until("h", "/a", "mark=")
	envoy.Until("h", "/b", "mark=")
}
