package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// namesToResolve are the names that Envoy is to resolve for the first time for an API. Those that it had keep their last
// addresses in it, should they not resolve at this moment.
func (n *Node) namesToResolve(q *queuedAPI) []string {
	if n.options.Resolver == nil || n.unserved[q.message.GetApi()].GetDigest() == q.message.GetDigest() {
		return nil
	}
	var names []string
	for cluster, hosts := range q.bundle.Names {
		if current := n.running[q.bundle.API]; current == nil || current.bundle.Clusters[cluster].Name == "" {
			names = append(names, hosts...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// resolve says which of the names do not resolve. Envoy would take a name that is unknown and have no address to send
// requests to; a name server that is silent would hold back all its clusters.
func (n *Node) resolve(names []string) error {
	ctx, cancel := context.WithTimeout(n.lifetime, n.timing.Resolve)
	defer cancel()
	var errs []error
	for _, name := range names {
		if _, err := n.options.Resolver.LookupHost(ctx, name); err != nil {
			errs = append(errs, transientError{fmt.Errorf("upstream: the name %s does not resolve: %w", name, why(err))})
		}
	}
	return join(errs...)
}

// why leaves out of a resolver's error what stands before it already.
func why(err error) error {
	if failed, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(failed.Err)
	}
	return err
}
