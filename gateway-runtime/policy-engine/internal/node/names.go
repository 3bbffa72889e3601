package node

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/xds"
)

// nameResolver resolves the names of upstreams before Envoy does.
type nameResolver struct {
	resolver Resolver // nil: no name is resolved
	timeout  time.Duration
}

// newNames returns the names that Envoy will resolve for the first time for a bundle, by cluster. A cluster that runs already, for
// this API or for another one, keeps the last addresses of its names, even if they do not resolve now.
func (n *Node) newNames(bundle *xds.Bundle) (names [][]string) {
	if len(bundle.Names) > 0 && n.resolved == nil {
		n.resolved = n.running.resolvedClusters()
	}
	for _, cluster := range slices.Sorted(maps.Keys(bundle.Names)) {
		if !n.resolved[cluster] {
			names = append(names, bundle.Names[cluster])
		}
	}
	return names
}

// resolvedClusters returns the clusters of the versions whose names Envoy resolves.
func (r running) resolvedClusters() map[string]bool {
	clusters := map[string]bool{}
	for _, current := range r {
		for name := range current.bundle.Names {
			clusters[name] = true
		}
	}
	return clusters
}

// setRunning makes a version the running one of its API; nil: none.
func (n *Node) setRunning(api string, v *version) {
	if v == nil {
		delete(n.running, api)
	} else {
		n.running[api] = v
	}
	n.resolved = nil
}

// resolve returns an error for each cluster of which no name resolves. Envoy would accept an unknown name and have no address to
// send requests to; a silent name server would hold back all its clusters. One target that resolves is enough.
func (r nameResolver) resolve(ctx context.Context, clusters [][]string) error {
	if r.resolver == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var errs []error
	for _, names := range clusters {
		errs = append(errs, r.resolveAny(ctx, names))
	}
	return transient.Join(errs...)
}

// resolveAny returns nil as soon as one of the names resolves.
func (r nameResolver) resolveAny(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		_, err := r.resolver.LookupHost(ctx, name)
		if err == nil {
			return nil
		}
		errs = append(errs, transient.Mark(queue.UnresolvedError{Name: name, Cause: resolverReason(err)}))
	}
	return transient.Join(errs...)
}

// resolverReason removes from a resolver's error the parts that queue.UnresolvedError prints already.
func resolverReason(err error) error {
	if failed, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(failed.Err)
	}
	return err
}
