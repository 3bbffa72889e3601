package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/controller"
)

// sharing is a bundle whose one cluster has this name, as those of other APIs may.
func sharing(cluster, api, digest string) *nodev1.ApiBundle {
	made := bundle(api, digest)
	made.Clusters = [][]byte{wire(&clusterv3.Cluster{Name: cluster})}
	return made
}

func unwire(t *testing.T, text []byte, into proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestASharedClusterGoesWithTheLastOfItsAPIs(t *testing.T) { synctest.Test(t, testSharedCluster) }

func testSharedCluster(t *testing.T) {
	b := newBench(t, newScriptedEnvoy(true), t.TempDir())
	b.apply(1, some(sharing("orders|1", "a", "1"), sharing("orders|1", "b", "1"), sharing("orders|1", "c", "1")))
	serves := func() []string { clusters, _ := b.envoy.serves(); return clusters }
	equal(t, "clusters of three APIs", serves(), "orders|1")
	held, ok := b.table.Acquire(chainID("b1"))
	if !ok {
		t.Fatal("the chain of b is not in the table")
	}
	b.apply(2, some(sharing("orders|2", "b", "2")), "a")
	b.run()
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	equal(t, "one API still uses it", serves(), "orders|1", "orders|2")
	b.node.inbox.Add(&nodev1.Update{Revision: 3, RemovedApis: []string{"c"}})
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	equal(t, "only an exchange of the version before uses it", serves(), "orders|1", "orders|2")
	held.Release()
	b.eventually("it goes with the exchange", func() bool { return strings.Join(serves(), " ") == "orders|2" })
}

func TestASharedUpstreamIsNamedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newScriptedEnvoy(true), t.TempDir())
		var group []*version
		for _, api := range []string{"a", "b", "c"} {
			b.apply(1, some(sharing("orders|1", api, "1")))
			group = append(group, b.node.running[api])
		}
		equal(t, "names", []string{names(group)}, "orders|1")
	})
}

func TestOneNameOfAPoolThatResolvesIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resolver := &nameServer{known: map[string]bool{"there.example": true}}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, resolver: resolver}, t.TempDir())
		pool := func(api string, hosts ...string) *nodev1.ApiBundle {
			made := toward(hosts[0], api, "1")
			cluster := &clusterv3.Cluster{}
			unwire(t, made.Clusters[0], cluster)
			for _, host := range hosts[1:] {
				other := &clusterv3.Cluster{}
				unwire(t, toward(host, api, "1").Clusters[0], other)
				cluster.LoadAssignment.Endpoints = append(cluster.LoadAssignment.Endpoints, other.LoadAssignment.Endpoints...)
			}
			made.Clusters = [][]byte{wire(cluster)}
			return made
		}
		b.node.apply(t.Context(), controller.Pack(&nodev1.Update{Revision: 1, Bundles: some(pool("a", "nowhere.example", "there.example"),
			pool("b", "nowhere.example", "neither.example"))}), time.Second)
		equal(t, "report", b.reported(), "1 a 1 APPLIED", "1 b 1 PENDING")
		for _, name := range []string{"neither.example", "nowhere.example"} {
			if reason := b.node.queue.Get("b").Reason(); !strings.Contains(reason, "the name "+name+" does not resolve") {
				t.Errorf("expected the reason to name %s, got %q", name, reason)
			}
		}
	})
}

func TestANameThatEnvoyResolvesForAnotherAPIIsNotLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resolver := &nameServer{known: map[string]bool{"there.example": true}}
		b := newBenchWith(t, &bench{t: t, envoy: newScriptedEnvoy(true), shelf: &shelf{}, resolver: resolver}, t.TempDir())
		first := toward("there.example", "a", "1")
		b.apply(1, some(first))
		resolver.learn("there.example", false)
		second := bundle("b", "1")
		second.Clusters = first.Clusters
		equal(t, "report", b.apply(2, some(second)), "2 b 1 APPLIED")
		if asked := resolver.questions(); asked != "" {
			t.Errorf("expected no look-up, got %q", asked)
		}
	})
}
