// Package inside turns what the controller says of the ext_proc filter into what Envoy is told where the engine runs in Envoy's
// own process: a listener gets the engine's filter beside ext_proc, and each route is sent one of the two ways.
//
// A route whose policies want no body goes to the engine's filter, all others stay with ext_proc, since a filter of a dynamic module
// cannot send a body in pieces while it holds the message back (docs/decisions/0099-the-engine-says-which-way-a-route-goes.md).
package inside

import (
	"errors"
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	modulev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/dynamic_modules/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// failsOpen tells the module that a route goes on without the engine: ext_proc's own word for it, which the module's hooks.c reads.
const failsOpen = "failure_mode_allow"

// Listener puts the engine's filter, disabled, directly behind each ext_proc filter of a listener's HTTP connection managers.
// Everything else of the listener stays.
func Listener(listener *listenerv3.Listener) error {
	chains := listener.GetFilterChains()
	if chain := listener.GetDefaultFilterChain(); chain != nil {
		chains = append(chains[:len(chains):len(chains)], chain)
	}
	var errs []error
	for _, chain := range chains {
		for _, filter := range chain.GetFilters() {
			manager := &hcmv3.HttpConnectionManager{}
			if packed := filter.GetTypedConfig(); packed.MessageIs(manager) {
				errs = append(errs, changeAny(packed, manager, func() error { return addFilter(manager) }))
			}
		}
	}
	return errors.Join(errs...)
}

// addFilter puts the engine's filter behind the ext_proc filter of a manager. A manager without one, such as that of a listener
// which redirects, runs no policies.
func addFilter(manager *hcmv3.HttpConnectionManager) error {
	filters := make([]*hcmv3.HttpFilter, 0, len(manager.GetHttpFilters())+1)
	for _, filter := range manager.GetHttpFilters() {
		filters = append(filters, filter)
		if filter.GetName() != envoynames.ExtProcFilter {
			continue
		}
		own, err := engineFilter()
		if err != nil {
			return err
		}
		filters = append(filters, own)
	}
	manager.HttpFilters = filters
	return nil
}

func engineFilter() (*hcmv3.HttpFilter, error) {
	packed, err := pack(&filterv3.DynamicModuleFilter{DynamicModuleConfig: module(), FilterName: envoynames.EngineModule})
	if err != nil {
		return nil, err
	}
	return &hcmv3.HttpFilter{
		Name: envoynames.EngineFilter, Disabled: true, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed},
	}, nil
}

// Route enables the engine's filter on a route in the place of ext_proc, if ext_proc would send no body of it. The module is told
// whether the route fails open; which headers its policies want, it finds in their chain. A route that is not sent to the engine, or
// whose policies want a body, stays as it is.
func Route(route *routev3.Route) error {
	packed := route.GetTypedPerFilterConfig()[envoynames.ExtProcFilter]
	if packed == nil {
		return nil
	}
	perRoute := &extprocv3.ExtProcPerRoute{}
	if err := packed.UnmarshalTo(perRoute); err != nil {
		return fmt.Errorf("typed_per_filter_config[%s]: %w", envoynames.ExtProcFilter, err)
	}
	if !sendsHeadersOnly(perRoute.GetOverrides().GetProcessingMode()) {
		return nil
	}
	config := &filterv3.DynamicModuleFilterPerRoute{DynamicModuleConfig: module(), FilterName: envoynames.EngineModule}
	if perRoute.GetOverrides().GetFailureModeAllow().GetValue() {
		open, err := pack(wrapperspb.String(failsOpen))
		if err != nil {
			return err
		}
		config.FilterConfig = open
	}
	own, err := pack(config)
	if err != nil {
		return err
	}
	delete(route.TypedPerFilterConfig, envoynames.ExtProcFilter) // the listener's own is disabled
	route.TypedPerFilterConfig[envoynames.EngineFilter] = own
	return nil
}

// sendsHeadersOnly reports whether a route's own modes send neither bodies nor trailers. A route without modes has those of its
// listener's filter, which are not known here.
func sendsHeadersOnly(modes *extprocv3.ProcessingMode) bool {
	const none, send = extprocv3.ProcessingMode_NONE, extprocv3.ProcessingMode_SEND
	return modes != nil && modes.GetRequestBodyMode() == none && modes.GetResponseBodyMode() == none &&
		modes.GetRequestTrailerMode() != send && modes.GetResponseTrailerMode() != send
}

// module is the engine's shared object. Go's runtime cannot be unloaded.
func module() *modulev3.DynamicModuleConfig {
	return &modulev3.DynamicModuleConfig{Name: envoynames.EngineModule, DoNotClose: true}
}

func changeAny(packed *anypb.Any, message proto.Message, change func() error) error {
	if err := packed.UnmarshalTo(message); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	changed, err := pack(message)
	if err == nil {
		packed.Value = changed.GetValue()
	}
	return err
}

// pack serializes so that equal messages have equal bytes: a resource's version is a digest of them.
func pack(message proto.Message) (*anypb.Any, error) {
	packed := &anypb.Any{}
	err := anypb.MarshalFrom(packed, message, proto.MarshalOptions{Deterministic: true})
	return packed, err
}
