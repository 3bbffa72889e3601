package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// accessLogFilter is the filter in the bootstrap that tells the access log what an API says of it.
const accessLogFilter = "gatewright.access_log"

// pathFilter is the filter of listeners that keeps the client's path for the access log, on routes whose requests may
// lose it: by policies, or by rewriting, that of a redirect too. An entry of this name enables it on a route.
const pathFilter = "gatewright.logged_path"

var pathKept = mustAny(&routev3.FilterConfig{Config: &anypb.Any{}})

// escapedSlash must not reach an upstream, which would decode another path than the one whose policies have run.
const escapedSlash = `%(?:2[Ff]|5[Cc])`

// doubtful matches paths that upstreams interpret in different ways: parameters of segments, escaped slashes, double encoding, and
// a percent sign that begins no encoding. Envoy has decoded unreserved characters (`%2e`), and passes on ASCII only.
const doubtful = `.*(?:;|%3[Bb]|` + escapedSlash + `|%25[0-9A-Fa-f]{2}|%[^0-9A-Fa-f]|%[0-9A-Fa-f][^0-9A-Fa-f]).*|.*%.?`

// front returns the first route of a bundle, which matches the paths that no other route may match. If strict, it refuses doubtful
// paths; otherwise it redirects a client that escapes slashes to the path that upstream would see, as RFC 3986 distinguishes them.
func front(api string, strict bool, routes []*routev3.Route) *routev3.Route {
	var first *routev3.Route
	if strict {
		first = answering(api+"|400|", 400, "Bad Request", "The path has a ';', an escaped slash, or a part that is not encoded exactly once: upstreams read it in different ways.")
		first.Match = pathMatches(doubtful)
	} else {
		first = &routev3.Route{
			Name:  api + "|307|",
			Match: pathMatches(".*" + escapedSlash + ".*"),
			Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{
				ResponseCode: routev3.RedirectAction_TEMPORARY_REDIRECT,
				PathRewriteSpecifier: &routev3.RedirectAction_RegexRewrite{RegexRewrite: &matcherv3.RegexMatchAndSubstitute{
					Pattern: &matcherv3.RegexMatcher{Regex: escapedSlash}, Substitution: "/",
				}},
			}},
			TypedPerFilterConfig: map[string]*anypb.Any{pathFilter: pathKept},
		}
	}
	if len(routes) > 0 {
		if lines := routes[0].GetTypedPerFilterConfig()[accessLogFilter]; lines != nil {
			if first.TypedPerFilterConfig == nil {
				first.TypedPerFilterConfig = map[string]*anypb.Any{}
			}
			first.TypedPerFilterConfig[accessLogFilter] = lines
		}
	}
	return first
}

func pathMatches(regex string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}}
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
