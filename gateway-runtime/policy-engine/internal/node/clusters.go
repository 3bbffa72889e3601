package node

import (
	"maps"
	"slices"

	"gatewright.dev/policy-engine/internal/xds"

	"gatewright.dev/policy-engine/internal/node/queue"
)

// Clusters returns the names of Envoy's clusters that each running API uses, sorted; APIs share them. It may be called
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

// Obstacle is the reason why the newest version of an API does not run.
type Obstacle = queue.Obstacle

// Obstacle returns why the newest version of an API does not run. It may be called from any goroutine.
func (n *Node) Obstacle(api string) Obstacle {
	if obstacles := n.obstacles.Load(); obstacles != nil {
		return (*obstacles)[api]
	}
	return Obstacle{}
}

// Unresolved returns the upstream name of each API whose newest version does not run because that name does not resolve. It may
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

// routesInUse are the routes that Envoy has accepted last.
type routesInUse struct {
	bundles []*xds.Bundle
	front   xds.Front
}

// Near returns the APIs and operations nearest to a request that has matched no route of the listener.
func (n *Node) Near(listener, authority, path string) xds.Near {
	inUse := n.routesInUse.Load()
	if inUse == nil {
		inUse = &routesInUse{}
	}
	return xds.NearTo(inUse.bundles, inUse.front, listener, authority, path)
}
