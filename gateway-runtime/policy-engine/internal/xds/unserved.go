package xds

import (
	"errors"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// unservedRetrySeconds is the Retry-After for clients of an API that is not served: about the time
// between two of the node's tries.
const unservedRetrySeconds = "5"

// Unserved returns the bundle of an API that cannot be served now: Envoy answers 503 itself under its context,
// unless another bundle has the context. It uses the message's API name, context, hosts and listeners only.
func Unserved(message *nodev1.ApiBundle) (*Bundle, error) {
	bundle := &Bundle{API: message.GetApi(), Digest: message.GetDigest(), Context: message.GetContext(), Listeners: message.GetListeners(), unserved: true}
	if len(message.GetAttachedTo()) > 0 {
		bundle.AttachedTo = message.GetAttachedTo()
		return bundle, checkContext(bundle.Context)
	}
	var hostsErr error
	bundle.Hosts, hostsErr = parseHosts(message.GetHosts())
	routes, routesErr := marshal(&routev3.RouteList{Routes: []*routev3.Route{unavailable(message.GetApi())}})
	if err := errors.Join(checkContext(bundle.Context), hostsErr, routesErr); err != nil {
		return nil, err
	}
	bundle.setRoutes(routes)
	return bundle, nil
}

func unavailable(api string) *routev3.Route {
	route := answering(refusalName(api, 503), 503, "Service Unavailable", "The API is not available at present.")
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	route.ResponseHeadersToAdd = []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: "retry-after", Value: unservedRetrySeconds},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}
	return route
}
