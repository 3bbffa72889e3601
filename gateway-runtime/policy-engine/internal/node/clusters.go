package node

import (
	"maps"
	"slices"

	"gatewright.dev/policy-engine/internal/xds"
)

// Clusters says which of Envoy's clusters each API that runs sends its requests to, sorted; APIs share them. It may be called
// from any goroutine.
func (n *Node) Clusters() map[string][]string {
	inUse := map[string][]string{}
	for _, bundle := range *n.clustersInUse.Load() {
		inUse[bundle.API] = slices.Sorted(maps.Keys(bundle.Clusters))
	}
	return inUse
}

func (n *Node) publishClusters() {
	bundles := n.running.bundles()
	n.clustersInUse.Store(&bundles)
}

// Obstacle says why the newest version of an API does not run. It may be called from any goroutine.
func (n *Node) Obstacle(api string) Obstacle {
	if obstacles := n.obstacles.Load(); obstacles != nil {
		return (*obstacles)[api]
	}
	return Obstacle{}
}

// Unresolved are the names of upstreams that do not resolve, so that the newest version of an API does not run, by API. It may
// be called from any goroutine.
func (n *Node) Unresolved() map[string]string {
	names := map[string]string{}
	if obstacles := n.obstacles.Load(); obstacles != nil {
		for api, obstacle := range *obstacles {
			if obstacle.Unresolved != "" {
				names[api] = obstacle.Unresolved
			}
		}
	}
	return names
}

// Near says what lies near a request that has met no route.
func (n *Node) Near(authority, path string) xds.Near {
	var bundles []*xds.Bundle
	if inUse := n.clustersInUse.Load(); inUse != nil {
		bundles = *inUse
	}
	return xds.NearTo(bundles, authority, path)
}
