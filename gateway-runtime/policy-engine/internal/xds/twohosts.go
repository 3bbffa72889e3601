package xds

import (
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

var (
	authorityInput = mustInput("authority", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":authority"})
	twoHosts       = mustRoutes(twoHostsRoute())
)

// refuseTwoHosts has requests with two Host headers answered with 400 (RFC 9112, 3.2), on every host and whatever their
// path: Envoy joins them with a comma. A matcher before the tree costs a request next to nothing; a filter that looks for
// the same is made and asked for each of them.
func refuseTwoHosts(hosts []*routev3.VirtualHost) []*routev3.VirtualHost {
	covered := false
	for _, host := range hosts {
		host.Matcher = behindTwoHosts(host.GetMatcher())
		covered = covered || slices.Contains(host.GetDomains(), everyHost)
	}
	if covered {
		return hosts
	}
	return append(hosts, &routev3.VirtualHost{Name: everyHost, Domains: []string{everyHost}, Matcher: behindTwoHosts(nil)})
}

// behindTwoHosts asks others, nil for none, about requests with one Host header.
func behindTwoHosts(others *xdsmatcherv3.Matcher) *xdsmatcherv3.Matcher {
	joined := &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Contains{Contains: ","}}
	made := &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
		Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
			Predicate: matches(authorityInput, joined), OnMatch: twoHosts,
		}},
	}}}
	if others != nil {
		made.OnNoMatch = &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: others}}
	}
	return made
}

// twoHostsRoute belongs to no API and has no chain. Listeners have the same words for what they refuse themselves.
func twoHostsRoute() *routev3.Route {
	route := answering("|400|", 400, "Bad Request", "The request has two Host headers.")
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	return route
}

func mustRoutes(routes ...*routev3.Route) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: "routes", TypedConfig: mustAny(&routev3.RouteList{Routes: routes})},
	}}
}

func mustAny(message proto.Message) *anypb.Any {
	packed, err := anypb.New(message)
	if err != nil {
		panic(err) // constant messages always serialize
	}
	return packed
}
