package xds

import (
	"slices"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

var (
	authorityInput = mustInput("authority", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":authority"})
	twoHosts       = alwaysRoutes(twoHostsRoute())
)

// withFront has every host answer two kinds of requests before all APIs: those with two Host headers with 400
// (RFC 9112, 3.2; Envoy joins the values with a comma), and, if challenges, those of ACME by the controller. A matcher
// before the tree costs almost nothing per request; a filter for the same would be created and called for each request.
//
// It returns the fields of the route configuration that hold the virtual hosts.
func withFront(hosts []*virtualHost, challenges bool) []rope {
	fields, covered := make([]rope, 0, len(hosts)+1), false
	for _, host := range hosts {
		covered = covered || slices.Contains(host.GetDomains(), everyHost)
		fields = append(fields, hostField(host, challenges))
	}
	if !covered {
		fields = append(fields, hostField(&virtualHost{VirtualHost: &routev3.VirtualHost{Name: everyHost, Domains: []string{everyHost}}}, challenges))
	}
	return fields
}

func hostField(host *virtualHost, challenges bool) rope {
	front := behindFront(host.matcher, challenges)
	return concat(serialized(host.VirtualHost), rope(front).in(matcherField)).in(hostsField)
}

// behindFront puts the two kinds before the matcher of all other requests; empty: none.
func behindFront(rest matcher, challenges bool) matcher {
	joined := &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Contains{Contains: ","}}
	front := []rope{ifMatches(matches(authorityInput, joined), twoHosts)}
	if challenges {
		below := &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Prefix{Prefix: envoynames.ChallengePath}}
		front = append(front, ifMatches(pathIs(below), toChallenges))
	}
	if rest.isEmpty() {
		return firstOf(front...)
	}
	return firstOf(front...).otherwise(toMatcher(rest))
}

// twoHostsRoute belongs to no API and has no chain. Listeners use the same texts for their own refusals.
func twoHostsRoute() *routev3.Route {
	route := answering(refusalName("", 400), 400, "Bad Request", "The request has two Host headers.")
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	return route
}

func alwaysRoutes(routes ...*routev3.Route) onMatch {
	return toRoutes(serialized(&routev3.RouteList{Routes: routes}).join())
}

func mustAny(message proto.Message) *anypb.Any {
	packed, err := anypb.New(message)
	if err != nil {
		panic(err) // constant messages always serialize
	}
	return packed
}
