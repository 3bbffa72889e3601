package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
)

// namesToResolve are the names that Envoy is to resolve for the first time for an API, those of each of its clusters. Those
// of a cluster that runs, for this API or for another one, keep their last addresses in it, should they not resolve at
// this moment.
func (n *Node) namesToResolve(q *queuedAPI) [][]string {
	if n.options.Resolver == nil || n.unserved[q.message.GetApi()].GetDigest() == q.message.GetDigest() {
		return nil
	}
	var all [][]string
	for _, cluster := range slices.Sorted(maps.Keys(q.bundle.Names)) {
		if !n.runsCluster(cluster) {
			all = append(all, q.bundle.Names[cluster])
		}
	}
	return all
}

func (n *Node) runsCluster(name string) bool {
	for _, current := range n.running {
		if _, found := current.bundle.Clusters[name]; found {
			return true
		}
	}
	return false
}

// resolve says which clusters have no name that resolves. Envoy would take a name that is unknown and have no address to
// send requests to; a name server that is silent would hold back all its clusters. One target that resolves is enough.
func (n *Node) resolve(clusters [][]string) error {
	ctx, cancel := context.WithTimeout(n.lifetime, n.timing.Resolve)
	defer cancel()
	var errs []error
	for _, names := range clusters {
		errs = append(errs, n.resolveAny(ctx, names))
	}
	return join(errs...)
}

// resolveAny is nil as soon as one of the names resolves.
func (n *Node) resolveAny(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		_, err := n.options.Resolver.LookupHost(ctx, name)
		if err == nil {
			return nil
		}
		errs = append(errs, transientError{unresolvedError{name, why(err)}})
	}
	return join(errs...)
}

// unresolvedError says that the name of an upstream does not resolve.
type unresolvedError struct {
	name  string
	cause error
}

func (e unresolvedError) Error() string {
	return fmt.Sprintf("upstream: the name %s does not resolve: %v", e.name, e.cause)
}

func (e unresolvedError) Unwrap() error { return e.cause }

// why leaves out of a resolver's error what stands before it already.
func why(err error) error {
	if failed, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(failed.Err)
	}
	return err
}
