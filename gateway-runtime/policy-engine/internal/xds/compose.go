package xds

import (
	"maps"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// envoysOwn are headers that Envoy adds to requests by itself, and that upstreams must not see.
var envoysOwn = []string{"x-envoy-external-address", "x-envoy-internal"}

// answerBytes bounds an API's fixed answer; Envoy's default is 4096. The controller's validation enforces it,
// in characters.
const answerBytes = 4 * 16384

// forwardedHost sends upstreams the client's host, since they see their own. Headers are added before the
// host is rewritten, and the authority that a policy chose is in metadata, which only that rewriting reads. The listener
// removes a client's own header, since it cannot be trusted. The access log reads the client's host from here.
var forwardedHost = &corev3.HeaderValueOption{
	Header:       &corev3.HeaderValue{Key: "x-forwarded-host", Value: "%REQ(:AUTHORITY)%"},
	AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
}

// Compose places the routes of all bundles in the one route configuration: a virtual host for the host names that the
// same bundles cover, and in it a prefix tree from context to routes, so that a request costs the same with 10 and with
// 10,000 APIs.
//
// A host is the same whatever its port, the case of its letters and a final dot. A path belongs to the longest context
// that contains it, by whole segments ("/orders", "/orders?x", "/orders/1", not "/ordersX"), whether or not one of its
// routes matches. On a named host, the APIs of that name come before those of wildcards and of every host with the same
// context. A path outside of all contexts is Envoy's 404; one in the context of an API that is not served (Unserved) is 503.
// A request with two Host headers is 400.
//
// A listener serves the bundles that name it, and, unless it is internal, those that name no listener. To its clients all other
// bundles do not exist.
func Compose(bundles []*Bundle, front Front) Resource {
	config := &routev3.RouteConfiguration{
		Name: envoynames.RouteConfiguration, RequestHeadersToRemove: envoysOwn, RequestHeadersToAdd: []*corev3.HeaderValueOption{forwardedHost},
		IgnorePortInHostMatching:       true,
		MaxDirectResponseBodySizeBytes: wrapperspb.UInt32(answerBytes),
	}
	hosts := withFront(virtualHosts(bundles, front.internal), front.challenges)
	content := concat(append([]rope{serialized(config)}, hosts...)...)
	return newRopeResource(envoynames.RouteConfiguration, RouteType, content)
}

// Clusters returns the clusters of all bundles; of the same name, that of the last one. It copies those that bundles share once.
func Clusters(bundles []*Bundle) Resources {
	clusters, copied := Resources{}, map[*clusterSet]bool{}
	for _, bundle := range slices.Backward(bundles) {
		if bundle.clusters != nil && copied[bundle.clusters] {
			continue
		}
		copied[bundle.clusters] = true
		for name, cluster := range bundle.Clusters {
			if _, isLater := clusters[name]; !isLater {
				clusters[name] = cluster
			}
		}
	}
	return clusters
}

// virtualHost is a virtual host without its serialized matcher, and that matcher.
type virtualHost struct {
	*routev3.VirtualHost
	matcher matcher
}

// virtualHosts returns a virtual host for each set of bundles that cover a host: all hosts on which an API is alone share one.
func virtualHosts(bundles []*Bundle, internal string) []*virtualHost {
	var result []*virtualHost
	byOwners := map[string]*virtualHost{}
	views := viewsOf(bundles, internal)
	for _, host := range slices.Sorted(maps.Keys(byPattern(bundles))) {
		owned, key := ownersIn(views, host)
		same := byOwners[key]
		if same == nil {
			same = &virtualHost{&routev3.VirtualHost{Name: host}, treeOf(views, owned)}
			byOwners[key] = same
			result = append(result, same)
		}
		same.Domains = append(same.Domains, domains(host)...)
	}
	return result
}

// domains returns the names of a host: with a final dot it is the same host (RFC 1034, 3.1).
func domains(host string) []string {
	if strings.HasSuffix(host, "*") {
		return []string{host}
	}
	return []string{host, host + "."}
}

// contextEntry is the entry of a context in the tree: it matches the paths in the context, by whole segments, with the routes of
// its owners, as serialized RouteLists. If the path continues within a segment, Envoy tries the next shorter context of the tree.
func contextEntry(context string, routes ...[]byte) rope {
	list := toRoutes(routes...)
	if context == "/" {
		return entryOf(context, list)
	}
	boundary := &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
		OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: []*xdsmatcherv3.Matcher_MatcherList_Predicate{
			pathIs(&xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Prefix{Prefix: context + "/"}}),
			pathIs(&xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: context}}),
			pathIs(&xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Prefix{Prefix: context + "?"}}),
		}},
	}}
	return entryOf(context, toMatcher(firstOf(ifMatches(boundary, list))))
}

// sharedEntry is the entry of a context whose one route matches the paths in the context, and no others: what contextEntry adds
// to it costs Envoy as much as the route. If the path continues within a segment, no shorter context of the tree is tried.
func sharedEntry(context string, list []byte) rope { return entryOf(context, toRoutes(list)) }

var pathInput = mustInput("path", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":path"})

func mustInput(name string, message proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: mustAny(message)}
}

func pathIs(match *xdsmatcherv3.StringMatcher) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return matches(pathInput, match)
}

func matches(input *xdscorev3.TypedExtensionConfig, match *xdsmatcherv3.StringMatcher) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input:   input,
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: match},
		},
	}}
}
