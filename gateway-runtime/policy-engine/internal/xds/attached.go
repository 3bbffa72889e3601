package xds

import (
	"errors"
	"fmt"
	"strings"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/operations"
)

// parseAttached decodes the bundle of an API that routes of other Envoys name: it covers no host of the node's own Envoy, which
// has no routes and clusters of it.
func parseAttached(message *nodev1.ApiBundle) (*Bundle, error) {
	bundle := &Bundle{
		API: message.GetApi(), Digest: message.GetDigest(), Context: message.GetContext(), AttachedTo: message.GetAttachedTo(),
		Clusters: Resources{}, Names: Names{},
	}
	var err error
	if bundle.Table, err = operations.NewAttachedTable(message.GetApi(), message.GetOperations(), message.GetStrictPaths()); err != nil {
		err = fmt.Errorf("operations: %w", err)
	}
	errs := []error{err, checkContext(bundle.Context)}
	for i, name := range message.GetAttachedTo() {
		if text := strings.TrimSuffix(name, "*"); text == "" || strings.Contains(text, "*") {
			errs = append(errs, fmt.Errorf("attached_to[%d]: expected a name, or the beginning of one and *, got %q", i, name))
		}
	}
	if count := len(message.GetRoutes()) + len(message.GetChosenRoutes()) + len(message.GetClusters()); count > 0 {
		errs = append(errs, fmt.Errorf("routes, chosen_routes and clusters: expected none with attached_to, got %d", count))
	}
	chains := map[string]bool{}
	for _, chain := range message.GetChains() {
		chains[chain.GetId()] = true
	}
	if err == nil {
		for _, id := range bundle.Table.Chains() {
			if !chains[id] {
				errs = append(errs, fmt.Errorf("operations: expected ids of the bundle's chains, got %q", id))
			}
		}
		bundle.Operations = bundle.Table.Operations()
	}
	return bundle, errors.Join(errs...)
}
