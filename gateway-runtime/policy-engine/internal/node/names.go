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
func (r running) newNames(bundle *xds.Bundle) (names [][]string) {
	for _, cluster := range slices.Sorted(maps.Keys(bundle.Names)) {
		if !r.hasCluster(cluster) {
			names = append(names, bundle.Names[cluster])
		}
	}
	return names
}

func (r running) hasCluster(name string) bool {
	for _, current := range r {
		if _, found := current.bundle.Clusters[name]; found {
			return true
		}
	}
	return false
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
