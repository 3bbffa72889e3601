package xds

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// pathKept enables the filter that keeps the client's path, on a route whose requests may lose it.
var pathKept = mustAny(&routev3.FilterConfig{Config: &anypb.Any{}})

// front returns the first route of a bundle, which matches the paths that no other route may match. If strict, it refuses doubtful
// paths; otherwise it redirects a client that escapes slashes to the path that upstream would see, as RFC 3986 distinguishes them.
func front(api string, strict bool, routes []*routev3.Route) *routev3.Route {
	var first *routev3.Route
	if strict {
		first = answering(refusalName(api, 400), 400, "Bad Request", "The path has a ';', an escaped slash, or a part that is not encoded exactly once: upstreams read it in different ways.")
		first.Match = pathMatches(envoynames.DoubtfulPathPattern)
	} else {
		first = &routev3.Route{
			Name:  refusalName(api, 307),
			Match: pathMatches(".*" + envoynames.EscapedSlashPattern + ".*"),
			Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{
				ResponseCode: routev3.RedirectAction_TEMPORARY_REDIRECT,
				PathRewriteSpecifier: &routev3.RedirectAction_RegexRewrite{RegexRewrite: &matcherv3.RegexMatchAndSubstitute{
					Pattern: &matcherv3.RegexMatcher{Regex: envoynames.EscapedSlashPattern}, Substitution: "/",
				}},
			}},
			TypedPerFilterConfig: map[string]*anypb.Any{envoynames.LoggedPathFilter: pathKept},
		}
	}
	if len(routes) > 0 {
		if lines := routes[0].GetTypedPerFilterConfig()[envoynames.AccessLogFilter]; lines != nil {
			if first.TypedPerFilterConfig == nil {
				first.TypedPerFilterConfig = map[string]*anypb.Any{}
			}
			first.TypedPerFilterConfig[envoynames.AccessLogFilter] = lines
		}
	}
	return first
}

func pathMatches(regex string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}}
}

// refusalName is the name of a route of an API that Envoy answers itself: API|STATUS|.
func refusalName(api string, status int) string {
	return api + envoynames.RouteNameSeparator + strconv.Itoa(status) + envoynames.RouteNameSeparator
}

// answering returns a route that Envoy answers itself with a problem (RFC 9457). The caller sets its match.
func answering(name string, status uint32, title, detail string) *routev3.Route {
	problem := &structpb.Struct{Fields: map[string]*structpb.Value{
		"type":      structpb.NewStringValue("about:blank"),
		"title":     structpb.NewStringValue(title),
		"status":    structpb.NewNumberValue(float64(status)),
		"detail":    structpb.NewStringValue(detail),
		"requestId": structpb.NewStringValue("%REQ(X-REQUEST-ID)%"),
	}}
	return &routev3.Route{
		Name: name,
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
			Status: status,
			BodyFormat: &corev3.SubstitutionFormatString{
				ContentType: "application/problem+json",
				Format:      &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: problem},
			},
		}},
	}
}
