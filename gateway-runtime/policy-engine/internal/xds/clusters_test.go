package xds_test

import (
	"reflect"
	"testing"

	"gatewright.dev/policy-engine/internal/xds"
)

// Thousands of APIs have a few pools: what is parsed once is not kept for each of them.
func TestBundlesWithTheSameClustersShareThem(t *testing.T) {
	one, other := cluster(t, `{"name":"one"}`), cluster(t, `{"name":"other"}`)
	withClusters := func(api string, clusters ...[]byte) *xds.Bundle {
		message := answeringMessage(t, api, "/"+api)
		message.Clusters = clusters
		return bundle(t, message)
	}
	first, same, both := withClusters("first", one), withClusters("same", one), withClusters("both", one, other)
	if reflect.ValueOf(first.Clusters).Pointer() != reflect.ValueOf(same.Clusters).Pointer() {
		t.Error("expected the two bundles to share their clusters")
	}
	if len(first.Clusters) != 1 || len(both.Clusters) != 2 || both.Clusters["one"].Version != first.Clusters["one"].Version {
		t.Errorf("expected one and two clusters, got %v and %v", first.Clusters, both.Clusters)
	}
}
