package node

import (
	"maps"
	"slices"
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
