// Package bundletest makes parts of bundles as the controller does, for tests of the packages that read bundles.
package bundletest

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// FirstRoute is the first route of an API without strictPaths, serialized.
func FirstRoute(api string) []byte {
	return wire(&routev3.Route{
		Name: api + "|307|", Match: pathMatches(envoynames.EscapedSlashPathPattern),
		Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{
			ResponseCode: routev3.RedirectAction_TEMPORARY_REDIRECT,
			PathRewriteSpecifier: &routev3.RedirectAction_RegexRewrite{RegexRewrite: &matcherv3.RegexMatchAndSubstitute{
				Pattern: &matcherv3.RegexMatcher{Regex: envoynames.EscapedSlashPattern}, Substitution: "/",
			}},
		}},
		TypedPerFilterConfig: map[string]*anypb.Any{envoynames.LoggedPathFilter: enabled()},
	})
}

// StrictFirstRoute is the first route of an API with strictPaths, serialized.
func StrictFirstRoute(api string) []byte {
	return wire(&routev3.Route{
		Name: api + "|400|", Match: pathMatches(envoynames.DoubtfulPathPattern),
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 400}},
	})
}

func enabled() *anypb.Any {
	packed, err := anypb.New(&routev3.FilterConfig{Config: &anypb.Any{}})
	if err != nil {
		panic(err) // constant messages always serialize
	}
	return packed
}

func pathMatches(regex string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}}
}

func wire(route *routev3.Route) []byte {
	text, err := proto.Marshal(route)
	if err != nil {
		panic(err) // constant messages always serialize
	}
	return text
}
