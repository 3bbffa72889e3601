package node

import (
	"context"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
)

// nameServer is a resolver for tests: it resolves the names that are true, and records all look-ups.
type nameServer struct {
	mutex sync.Mutex
	known map[string]bool
	asked []string
}

func (n *nameServer) LookupHost(_ context.Context, host string) ([]string, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.asked = append(n.asked, host)
	if n.known[host] {
		return []string{"192.0.2.1"}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: "192.0.2.53", IsNotFound: true}
}

func (n *nameServer) learn(host string, known bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.known[host], n.asked = known, nil
}

func (n *nameServer) questions() string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return strings.Join(n.asked, " ")
}

// toward is a bundle whose upstream is a host's.
func toward(host, api, digest string) *nodev1.ApiBundle {
	made := bundle(api, digest)
	address := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 80}}}}
	made.Clusters = [][]byte{wire(&clusterv3.Cluster{Name: api + "|" + host,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: "x", Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: address}}}}}}}})}
	return made
}

func TestAnUpstreamWhoseNameDoesNotResolveWaitsUntilItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resolver := &nameServer{known: map[string]bool{"there.example": true}}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, resolver: resolver}, t.TempDir())
		b.node.apply(t.Context(), controller.Pack(&nodev1.Update{Revision: 1, Bundles: some(toward("nowhere.example", "a", "1"),
			toward("there.example", "b", "1"), bundle("c", "1"))}), time.Second)
		w := b.node.queue.Get("a")
		if w == nil || w.Reason() != "upstream: the name nowhere.example does not resolve: no such host" {
			t.Fatalf("expected the reason to name the host, got %+v", w)
		}
		want := Obstacle{Reason: w.Reason(), Unresolved: "nowhere.example"}
		if got := b.node.Obstacle("a"); got != want || b.node.Obstacle("b") != (Obstacle{}) {
			t.Errorf("expected %+v, got %+v", want, got)
		}
		if got := b.node.Unresolved(); !maps.Equal(got, map[string]string{"a": "nowhere.example"}) {
			t.Errorf("expected the name of one API, got %v", got)
		}
		equal(t, "report", b.reported(), "1 a 1 PENDING", "1 b 1 APPLIED", "1 c 1 APPLIED")
		equal(t, "answers 503 for", b.envoy.answersFor(), "a")
		b.run()
		resolver.learn("nowhere.example", true)
		b.eventually("it comes up", func() bool { _, routes := b.envoy.serves(); return strings.Join(routes, " ") == "a|1 b|1 c|1" })
	})
}

func TestANameThatEnvoyResolvesAlreadyIsNotLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		resolver := &nameServer{known: map[string]bool{"there.example": true}}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, resolver: resolver}, directory)
		b.apply(1, some(toward("there.example", "a", "1")))
		resolver.learn("there.example", false) // a broken name server takes no API off line
		equal(t, "another version", b.apply(2, some(toward("there.example", "a", "2"))), "2 a 2 APPLIED")
		b.node.Close()
		b = newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(false), shelf: &shelf{}, resolver: resolver}, directory)
		_, routes := b.envoy.serves()
		equal(t, "after a restart", routes, "a|2")
		if asked := resolver.questions(); asked != "" {
			t.Errorf("expected no look-up, got %q", asked)
		}
		b.node.Close()
	})
}
