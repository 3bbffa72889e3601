package xds_test

import (
	"reflect"
	"testing"

	"gatewright.dev/policy-engine/internal/xds"
)

// Thousands of APIs have a few pools: what is parsed once is not kept for each of them.
func TestBundlesWithTheSameClustersShareThem(t *testing.T) {
	pool, other := cluster(t, `{"name":"one"}`), cluster(t, `{"name":"other"}`)
	withClusters := func(api string, clusters ...[]byte) *xds.Bundle {
		message := answeringMessage(t, api, "/"+api)
		message.Clusters = clusters
		return bundle(t, message)
	}
	first, same, both := withClusters("first", pool), withClusters("same", pool), withClusters("both", pool, other)
	if reflect.ValueOf(first.Clusters).Pointer() != reflect.ValueOf(same.Clusters).Pointer() {
		t.Error("expected the two bundles to share their clusters")
	}
	if len(first.Clusters) != 1 || len(both.Clusters) != 2 || both.Clusters["one"].Version != first.Clusters["one"].Version {
		t.Errorf("expected one and two clusters, got %v and %v", first.Clusters, both.Clusters)
	}
}

func TestOfClustersWithTheSameNameTheLastBundlesCounts(t *testing.T) {
	withClusters := func(api, text string) *xds.Bundle {
		message := answeringMessage(t, api, "/"+api)
		message.Clusters = [][]byte{cluster(t, text)}
		return bundle(t, message)
	}
	first, other := withClusters("first", `{"name":"one"}`), withClusters("other", `{"name":"one","connectTimeout":"1s"}`)
	again := withClusters("again", `{"name":"one"}`)
	for want, bundles := range map[*xds.Bundle][]*xds.Bundle{other: {first, other}, again: {first, other, again}} {
		if got := xds.Clusters(bundles); len(got) != 1 || got["one"].Version != want.Clusters["one"].Version {
			t.Errorf("expected the cluster of %s, got %v", want.API, got)
		}
	}
}
