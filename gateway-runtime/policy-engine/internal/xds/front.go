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

// escapedSlash is what must not reach an upstream: it would decode another path than the one whose policies have run.
const escapedSlash = `%(?:2[Ff]|5[Cc])`

// doubtful is what upstreams read in different ways: parameters of segments, escaped slashes, what is encoded twice, and
// a percent sign that begins no encoding. Envoy has decoded all that is unreserved (`%2e`), and passes on ASCII only.
const doubtful = `.*(?:;|%3[Bb]|` + escapedSlash + `|%25[0-9A-Fa-f]{2}|%[^0-9A-Fa-f]|%[0-9A-Fa-f][^0-9A-Fa-f]).*|.*%.?`

// front is the route before all others of a bundle: it takes the paths that none of them may. strict refuses what is
// doubtful; else a client that escapes slashes is sent to the path that upstream would see, as RFC 3986 has them differ.
func front(api string, strict bool, routes []*routev3.Route) *routev3.Route {
	var made *routev3.Route
	if strict {
		made = answering(api+"|400|", 400, "Bad Request", "The path has a ';', an escaped slash, or what is not encoded once: upstreams read it in different ways.")
		made.Match = pathMatches(doubtful)
	} else {
		made = &routev3.Route{
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
			if made.TypedPerFilterConfig == nil {
				made.TypedPerFilterConfig = map[string]*anypb.Any{}
			}
			made.TypedPerFilterConfig[accessLogFilter] = lines
		}
	}
	return made
}

func pathMatches(regex string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}}
}

// answering is a route that Envoy answers itself with a problem (RFC 9457). What it matches is the caller's to say.
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
