// Package xds is Envoy's desired state: clusters and one route configuration, composed from API bundles, the
// listeners of a Gateway, and the certificates that both name; all served by delta ADS. It knows bundles, Gateways and
// Envoy's acknowledgements; it knows nothing of chains.
package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/operations"
)

// The types of resources, in the order in which a new Envoy receives them.
const (
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// sendingOrder sorts the types so that a resource is sent before the resources that name it.
var sendingOrder = []string{SecretType, ClusterType, ListenerType, RouteType}

// Resource is one xDS resource, serialized. Its version is a digest of its content.
type Resource struct {
	Name    string
	Version string
	typeURL string
	content rope
}

// Text returns the serialized resource.
func (r Resource) Text() []byte { return r.content.join() }

// Resources are resources of one type by their names.
type Resources map[string]Resource

// Bundle is one API's part of Envoy's configuration, decoded and checked once. It is immutable.
type Bundle struct {
	API        string
	Digest     string
	Context    string            // "/orders", "/" for the root
	Hosts      []string          // sorted, in lower case, without a final dot; "*" is every host
	Listeners  []string          // names of the listeners that serve it; none: all but the internal ones
	Clusters   Resources         // by name, which contains a digest: old and new clusters exist side by side
	Names      Names             // the names that Envoy resolves for the clusters
	Operations []string          // "GET /{id}", in the order of their routes
	Table      *operations.Table // of the one route that the operations share; nil: they have routes of their own
	AttachedTo []string          // names by which routes of other Envoys name the API; none: Envoy has routes of it
	Secrets    []string          // the names of the clusters' secrets, sorted: "certificate/NAME", "authority/NAME"
	clusters   *clusterSet       // has the clusters, their names and their secrets, which other bundles may share
	entry      []byte            // its context's entry in the tree, serialized, if no other bundle has the context; its end is
	routeBytes int               // a serialized RouteList of this size
	chosen     chosen            // the routes of the pools that policies choose between
	unserved   bool              // any other bundle of its context takes precedence
}

// Names are host names by cluster; a cluster of addresses has none.
type Names map[string][]string

// ParseBundle decodes a bundle and checks all of it that can be checked without Envoy. The error lists every mistake
// with its place. The routes are those for an engine in this place.
func ParseBundle(message *nodev1.ApiBundle, engine Engine) (*Bundle, error) {
	if len(message.GetAttachedTo()) > 0 {
		return parseAttached(message)
	}
	bundle := &Bundle{API: message.GetApi(), Digest: message.GetDigest(), Context: message.GetContext(), Listeners: message.GetListeners()}
	var errs [3]error
	bundle.Hosts, errs[0] = parseHosts(message.GetHosts())
	var routes []byte
	if message.GetOperations() != nil {
		routes, bundle.Table, errs[1] = parseShared(message, engine)
		bundle.Operations = bundle.Table.Operations()
	} else {
		routes, bundle.chosen, bundle.Operations, errs[1] = parseRoutes(message, engine)
	}
	errs[2] = bundle.setClusters(message.GetClusters())
	if err := errors.Join(checkContext(bundle.Context), errs[0], errs[1], errs[2]); err != nil {
		return nil, err
	}
	bundle.setRoutes(routes)
	return bundle, nil
}

// setRoutes sets the bundle's routes, a serialized RouteList, once its context is known. Composing copies what this serializes.
func (b *Bundle) setRoutes(list []byte) {
	entry := contextEntry(b.Context, list)
	if b.Table != nil {
		entry = sharedEntry(b.Context, list)
	}
	b.entry, b.routeBytes = entry.join(), len(list)
}

// routes returns the bundle's routes, a serialized RouteList: all that the entry has around them stands before them.
func (b *Bundle) routes() []byte { return b.entry[len(b.entry)-b.routeBytes:] }

// Covers reports whether the bundle's context contains a context.
func (b *Bundle) Covers(context string) bool {
	return b.Context == "/" || context == b.Context || strings.HasPrefix(context, b.Context+"/")
}

func checkContext(context string) error {
	bad := !strings.HasPrefix(context, "/") || strings.ContainsAny(context, "?#") || strings.Contains(context, "//")
	if bad || (context != "/" && strings.HasSuffix(context, "/")) {
		return fmt.Errorf(`context: expected "/" or "/a/b" without slash at its end, got %q`, context)
	}
	return nil
}

func parseHosts(hosts []string) ([]string, error) {
	if len(hosts) == 0 {
		return []string{everyHost}, nil
	}
	var errs []error
	parsed := make([]string, 0, len(hosts))
	for i, host := range hosts {
		if !isHostPattern(host) {
			errs = append(errs, fmt.Errorf(`hosts[%d]: expected "a.example", "*.a.example", "a.*" or "*", got %q`, i, host))
		}
		parsed = append(parsed, strings.TrimSuffix(strings.ToLower(host), "."))
	}
	slices.Sort(parsed)
	return slices.Compact(parsed), errors.Join(errs...)
}

func isHostPattern(host string) bool {
	inner := strings.Trim(host, "*")
	return host == everyHost || (inner != "" && len(host)-len(inner) <= 1 && !strings.ContainsAny(inner, "*:/ "))
}

func parseRoutes(message *nodev1.ApiBundle, engine Engine) (list []byte, choices chosen, operations []string, err error) {
	chains := make(map[string]*nodev1.Chain, len(message.GetChains()))
	for _, chain := range message.GetChains() {
		chains[chain.GetId()] = chain
	}
	first, firstErr := parseFirst(message.GetFirstRoute(), message.GetStrictPaths())
	routes, err := parseList("routes", message.GetRoutes(), chains)
	targets, targetsErr := parseList("chosen_routes", message.GetChosenRoutes(), chains)
	if err := errors.Join(firstErr, err, targetsErr); err != nil {
		return nil, nil, nil, err
	}
	pools, err := parseChosen(targets, engine)
	if err == nil {
		err = checkChoices(routes, chains, pools)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	operations = operationsOf(routes)
	if err := engine.place(routes...); err != nil {
		return nil, nil, nil, err
	}
	list, err = marshal(&routev3.RouteList{Routes: slices.Insert(routes, 0, first)})
	return list, pools.serialized, operations, err
}

// operationsOf returns the operations of the routes, skipping routes that refuse requests, and preflights.
func operationsOf(routes []*routev3.Route) []string {
	var operations []string
	for _, route := range routes {
		name := route.GetName()
		first, last := strings.Index(name, envoynames.RouteNameSeparator), strings.LastIndex(name, envoynames.RouteNameSeparator)
		if first < 0 || !strings.Contains(name[first+1:last+1], " ") {
			continue
		}
		operation := name[first+1 : last]
		if !strings.HasPrefix(operation, "OPTIONS ") && !slices.Contains(operations[max(0, len(operations)-1):], operation) {
			operations = append(operations, operation)
		}
	}
	return operations
}

// parseList decodes the routes of a field, and checks each against its chain.
func parseList(field string, texts [][]byte, chains map[string]*nodev1.Chain) ([]*routev3.Route, error) {
	var errs []error
	routes := make([]*routev3.Route, 0, len(texts)+1)
	for i, text := range texts {
		route := &routev3.Route{}
		if err := parse(text, route); err != nil {
			errs = append(errs, fmt.Errorf("%s[%d] %q: %w", field, i, route.GetName(), err))
		} else if err := checkRoute(route, chains); err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", field, i, err))
		}
		routes = append(routes, route)
	}
	return routes, errors.Join(errs...)
}

// chainID returns the chain at the end of a route's name.
func chainID(route *routev3.Route) string {
	return route.GetName()[strings.LastIndex(route.GetName(), envoynames.RouteNameSeparator)+1:]
}

// checkRoute checks a route against its chain: a chain that is not in the bundle would be answered 503.
func checkRoute(route *routev3.Route, chains map[string]*nodev1.Chain) error {
	id := chainID(route)
	chain := chains[id]
	if id != "" && chain == nil {
		return fmt.Errorf("name %q: expected the id of one of the bundle's chains at its end, or nothing after the last |, got %q", route.GetName(), id)
	}
	if err := errors.Join(checkExtProc(route, chain), checkUpgrades(route, chain), checkChoice(route, chain), checkClusters(route),
		checkInline(route.GetDirectResponse().GetBody())); err != nil {
		return fmt.Errorf("name %q: %w", route.GetName(), err)
	}
	return nil
}

// checkClusters requires that a route names its clusters itself: by a header, clients could choose them.
func checkClusters(route *routev3.Route) error {
	var errs []error
	for i, cluster := range route.GetRoute().GetWeightedClusters().GetClusters() {
		if cluster.GetClusterHeader() != "" {
			errs = append(errs, fmt.Errorf("route.weighted_clusters.clusters[%d].cluster_header: expected none, got %q", i, cluster.GetClusterHeader()))
		}
	}
	for i, mirror := range route.GetRoute().GetRequestMirrorPolicies() {
		if mirror.GetClusterHeader() != "" {
			errs = append(errs, fmt.Errorf("route.request_mirror_policies[%d].cluster_header: expected none, got %q", i, mirror.GetClusterHeader()))
		}
	}
	switch by := route.GetRoute().GetClusterSpecifier().(type) {
	case nil, *routev3.RouteAction_Cluster, *routev3.RouteAction_WeightedClusters:
	case *routev3.RouteAction_InlineClusterSpecifierPlugin:
		errs = append(errs, checkAttempts(route, by.InlineClusterSpecifierPlugin))
	default:
		errs = append(errs, fmt.Errorf("route: expected cluster or weighted_clusters, or the clusters of attempts, got %T", by))
	}
	return errors.Join(errs...)
}

func newResource(name, typeURL string, text []byte) Resource {
	return newRopeResource(name, typeURL, ropeOf(text))
}

func newRopeResource(name, typeURL string, content rope) Resource {
	hash := sha256.New()
	for _, part := range content.parts {
		_, _ = hash.Write(part)
	}
	return Resource{Name: name, Version: hex.EncodeToString(hash.Sum(nil)[:16]), typeURL: typeURL, content: content}
}

func marshal(message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(message)
}
