package xds

import (
	"errors"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// unservedRetrySeconds is what clients of an API that is not served are asked to wait: about as long as the node does
// between two tries.
const unservedRetrySeconds = "5"

// Unserved stands for an API that cannot be served now: whatever is asked under its context, Envoy answers 503 itself,
// as long as no other bundle has the context. Of the message it takes the API's name, its context, its hosts and its listeners.
func Unserved(message *nodev1.ApiBundle) (*Bundle, error) {
	bundle := &Bundle{API: message.GetApi(), Digest: message.GetDigest(), Context: message.GetContext(), Listeners: message.GetListeners(), unserved: true}
	var hostsErr, routesErr error
	bundle.Hosts, hostsErr = parseHosts(message.GetHosts())
	bundle.routes, routesErr = marshal(&routev3.RouteList{Routes: []*routev3.Route{unavailable(message.GetApi())}})
	if err := errors.Join(checkContext(bundle.Context), hostsErr, routesErr); err != nil {
		return nil, err
	}
	return bundle, nil
}

func unavailable(api string) *routev3.Route {
	route := answering(api+"|503|", 503, "Service Unavailable", "The API is not available at present.")
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	route.ResponseHeadersToAdd = []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: "retry-after", Value: unservedRetrySeconds},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}
	return route
}
