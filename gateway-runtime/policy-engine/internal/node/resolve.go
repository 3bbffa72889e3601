package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"gatewright.dev/policy-engine/internal/node/transient"
)

// namesToResolve returns the names that Envoy will resolve for the first time for an API, by cluster. A cluster that runs
// already, for this API or for another one, keeps the last addresses of its names, even if they do not resolve
// now.
func (n *Node) namesToResolve(q *queuedAPI) [][]string {
	if n.options.Resolver == nil || n.unserved[q.message.GetApi()].GetDigest() == q.message.GetDigest() {
		return nil
	}
	var result [][]string
	for _, cluster := range slices.Sorted(maps.Keys(q.bundle.Names)) {
		if !n.isClusterRunning(cluster) {
			result = append(result, q.bundle.Names[cluster])
		}
	}
	return result
}

func (n *Node) isClusterRunning(name string) bool {
	for _, current := range n.running {
		if _, found := current.bundle.Clusters[name]; found {
			return true
		}
	}
	return false
}

// resolve returns an error for each cluster of which no name resolves. Envoy would accept an unknown name and have no address to
// send requests to; a silent name server would hold back all its clusters. One target that resolves is enough.
func (n *Node) resolve(clusters [][]string) error {
	ctx, cancel := context.WithTimeout(n.lifetime, n.timing.Resolve)
	defer cancel()
	var errs []error
	for _, names := range clusters {
		errs = append(errs, n.resolveAny(ctx, names))
	}
	return transient.Join(errs...)
}

// resolveAny returns nil as soon as one of the names resolves.
func (n *Node) resolveAny(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		_, err := n.options.Resolver.LookupHost(ctx, name)
		if err == nil {
			return nil
		}
		errs = append(errs, transient.Mark(unresolvedError{name, resolverReason(err)}))
	}
	return transient.Join(errs...)
}

// unresolvedError reports that the name of an upstream does not resolve.
type unresolvedError struct {
	name  string
	cause error
}

func (e unresolvedError) Error() string {
	return fmt.Sprintf("upstream: the name %s does not resolve: %v", e.name, e.cause)
}

func (e unresolvedError) Unwrap() error { return e.cause }

// resolverReason removes from a resolver's error the parts that unresolvedError prints already.
func resolverReason(err error) error {
	if failed, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(failed.Err)
	}
	return err
}
