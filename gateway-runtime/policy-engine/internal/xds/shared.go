package xds

import (
	"errors"
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/operations"
)

// parseShared decodes the one route that all operations of a bundle share, as a serialized RouteList, and their table.
func parseShared(message *nodev1.ApiBundle, engine Engine) (list []byte, table *operations.Table, err error) {
	if len(message.GetRoutes()) != 1 || len(message.GetFirstRoute())+len(message.GetChosenRoutes()) > 0 {
		return nil, nil, fmt.Errorf("operations: expected one route, and neither a first nor a chosen one, got %d routes", len(message.GetRoutes()))
	}
	route := &routev3.Route{}
	table, tableErr := operations.NewTable(message.GetApi(), message.GetOperations(), message.GetStrictPaths())
	if tableErr != nil {
		tableErr = fmt.Errorf("operations: %w", tableErr)
	}
	if err := errors.Join(tableErr, parse(message.GetRoutes()[0], route)); err != nil {
		return nil, nil, err
	}
	if err := checkShared(route, table, message); err != nil {
		return nil, nil, fmt.Errorf("routes[0] %q: %w", route.GetName(), err)
	}
	if err := engine.place(route); err != nil {
		return nil, nil, err
	}
	list, err = marshal(&routev3.RouteList{Routes: []*routev3.Route{route}})
	return list, table, err
}

// checkShared checks the route against each chain to which the table leads.
func checkShared(route *routev3.Route, table *operations.Table, message *nodev1.ApiBundle) error {
	chains := make(map[string]*nodev1.Chain, len(message.GetChains()))
	for _, chain := range message.GetChains() {
		chains[chain.GetId()] = chain
	}
	errs := []error{checkClusters(route), checkCloses(route)}
	if want := message.GetApi() + envoynames.RouteNameSeparator + envoynames.RouteNameSeparator + table.ID; route.GetName() != want {
		errs = append(errs, fmt.Errorf("name: expected %q", want))
	}
	if want := pathsIn(message.GetContext()); !proto.Equal(route.GetMatch(), want) {
		errs = append(errs, fmt.Errorf("match: expected %v, got %v", want, route.GetMatch()))
	}
	if route.GetRoute() == nil {
		errs = append(errs, fmt.Errorf("action: expected route, got %T", route.GetAction()))
	}
	for _, id := range table.Chains() {
		if chain := chains[id]; chain == nil {
			errs = append(errs, fmt.Errorf("operations: expected ids of the bundle's chains, got %q", id))
		} else {
			errs = append(errs, checkExtProc(route, chain), checkChoice(route, chain), checkUpgrades(route, chain))
		}
	}
	return errors.Join(errs...)
}

// checkCloses requires that Envoy refuses requests while the engine is away: it does not know which of them the API takes.
func checkCloses(route *routev3.Route) error {
	config := &filterv3.ExtProcPerRoute{}
	if packed := route.GetTypedPerFilterConfig()[envoynames.ExtProcFilter]; packed == nil || packed.UnmarshalTo(config) != nil {
		return fmt.Errorf("typed_per_filter_config: expected %s, since the engine finds the operation", envoynames.ExtProcFilter)
	}
	if config.GetOverrides().GetFailureModeAllow().GetValue() {
		return errors.New("failure_mode_allow: expected false on a route that operations share")
	}
	return nil
}

// pathsIn matches all paths in a context.
func pathsIn(context string) *routev3.RouteMatch {
	if context == "/" {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: context}}
}
