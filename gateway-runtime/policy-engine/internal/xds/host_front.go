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

// withFront has every host answer two kinds of requests before all APIs: those with two Host headers with 400
// (RFC 9112, 3.2; Envoy joins the values with a comma), and, if challenges, those of ACME by the controller. A matcher
// before the tree costs almost nothing per request; a filter for the same would be created and called for each request.
func withFront(hosts []*routev3.VirtualHost, challenges bool) []*routev3.VirtualHost {
	covered := false
	for _, host := range hosts {
		host.Matcher = behindFront(host.GetMatcher(), challenges)
		covered = covered || slices.Contains(host.GetDomains(), everyHost)
	}
	if covered {
		return hosts
	}
	return append(hosts, &routev3.VirtualHost{Name: everyHost, Domains: []string{everyHost}, Matcher: behindFront(nil, challenges)})
}

// behindFront puts the two kinds before the matcher of all other requests, nil for none.
func behindFront(rest *xdsmatcherv3.Matcher, challenges bool) *xdsmatcherv3.Matcher {
	joined := &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Contains{Contains: ","}}
	front := []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{Predicate: matches(authorityInput, joined), OnMatch: twoHosts}}
	if challenges {
		below := &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Prefix{Prefix: challengePrefix}}
		front = append(front, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{Predicate: pathIs(below), OnMatch: toChallenges})
	}
	matcher := &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{
		MatcherList: &xdsmatcherv3.Matcher_MatcherList{Matchers: front},
	}}
	if rest != nil {
		matcher.OnNoMatch = &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: rest}}
	}
	return matcher
}

// twoHostsRoute belongs to no API and has no chain. Listeners use the same texts for their own refusals.
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
