package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"gatewright.dev/policy-engine/internal/sharing"
)

// clusterSet is what the clusters of a bundle are parsed to. It is immutable.
type clusterSet struct {
	clusters Resources
	names    Names
	secrets  []string
}

type digest [sha256.Size]byte

// clusterSets shares sets of the same texts among bundles: most APIs have a pool that others have too.
var clusterSets sharing.Cache[digest, clusterSet]

// setClusters sets the bundle's clusters, with their names and secrets.
func (b *Bundle) setClusters(texts [][]byte) error {
	set, err := clusterSets.Get(digestOf(texts), func() (*clusterSet, error) { return parseClusters(texts) })
	if err != nil {
		return err
	}
	b.clusters, b.Clusters, b.Names, b.Secrets = set, set.clusters, set.names, set.secrets
	return nil
}

// digestOf returns a digest of texts, each with its length.
func digestOf(texts [][]byte) digest {
	hash := sha256.New()
	for _, text := range texts {
		_, _ = hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		_, _ = hash.Write(text)
	}
	return digest(hash.Sum(nil))
}

func parseClusters(texts [][]byte) (*clusterSet, error) {
	set := &clusterSet{clusters: Resources{}, names: Names{}}
	var errs []error
	for i, text := range texts {
		cluster := &clusterv3.Cluster{}
		err := parse(text, cluster)
		if err == nil {
			err = checkCluster(cluster, set.clusters)
		}
		var secrets []string
		if err == nil {
			secrets, err = secretsIn(cluster)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("clusters[%d] %q: %w", i, cluster.GetName(), err))
			continue
		}
		set.secrets = append(set.secrets, secrets...)
		set.clusters[cluster.GetName()] = newResource(cluster.GetName(), ClusterType, text)
		if names := namesOf(cluster); len(names) > 0 {
			set.names[cluster.GetName()] = names
		}
	}
	slices.Sort(set.secrets)
	set.secrets = slices.Compact(set.secrets)
	return set, errors.Join(errs...)
}

func namesOf(cluster *clusterv3.Cluster) []string {
	if kind := cluster.GetType(); kind != clusterv3.Cluster_STRICT_DNS && kind != clusterv3.Cluster_LOGICAL_DNS {
		return nil
	}
	var names []string
	for _, locality := range cluster.GetLoadAssignment().GetEndpoints() {
		for _, endpoint := range locality.GetLbEndpoints() {
			names = append(names, endpoint.GetEndpoint().GetAddress().GetSocketAddress().GetAddress())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func checkCluster(cluster *clusterv3.Cluster, others Resources) error {
	if _, double := others[cluster.GetName()]; double {
		return errors.New("name: stands twice in the bundle")
	}
	if cluster.GetType() == clusterv3.Cluster_EDS {
		return errors.New("type: expected STATIC, STRICT_DNS or LOGICAL_DNS, got EDS, which the engine does not serve")
	}
	return nil
}
