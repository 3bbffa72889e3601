package xds

import (
	"errors"
	"fmt"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// parseFirst decodes the route before all others of a bundle, and holds it to taking the paths that none of them may. With
// strict these are all that upstreams read in different ways: with parameters of segments, escaped slashes, characters that
// are encoded twice, and percent signs that begin no encoding. (Envoy has decoded all that is unreserved, `%2e`, and passes
// on ASCII only.) Without strict they are those with escaped slashes: upstream would decode another path than the one whose
// policies have run.
func parseFirst(text []byte, strict bool) (*routev3.Route, error) {
	if len(text) == 0 {
		return nil, errors.New("first_route: expected a route, got none: the controller is of an older release than the engine")
	}
	route := &routev3.Route{}
	err := parse(text, route)
	if err == nil {
		err = errors.Join(checkRoute(route, nil), checkFirst(route, strict))
	}
	if err != nil {
		return nil, fmt.Errorf("first_route: %w", err)
	}
	return route, nil
}

func checkFirst(route *routev3.Route, strict bool) error {
	paths := envoynames.EscapedSlashPathPattern
	if strict {
		paths = envoynames.DoubtfulPathPattern
	}
	var errs []error
	if !proto.Equal(route.GetMatch(), pathMatches(paths)) {
		errs = append(errs, fmt.Errorf("match: expected all requests whose path matches %s, got %v", paths, route.GetMatch()))
	}
	if route.GetDirectResponse() == nil && route.GetRedirect() == nil {
		errs = append(errs, fmt.Errorf("action: expected direct_response or redirect, got %T", route.GetAction()))
	}
	return errors.Join(errs...)
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
