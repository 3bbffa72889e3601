package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	setstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// choice is the name of the listener's filter behind ext_proc that has Envoy look for a route again once policies have
// run, of the metadata of the routes that enable it, and of the filter state by which the route is found.
const choice = "gatewright.choice"

// choiceSeparator stands in the filter state between the two parts of a route's metadata. Nothing else has it.
const choiceSeparator = "/"

// chosen are the routes of pools that policies choose between, as serialized RouteLists, by GROUP/POOL.
type chosen map[string][]byte

// target is a route's metadata of choices: the group of routes of one choice, and the pool of this route.
type target struct{ group, upstream string }

func targetOf(route *routev3.Route) target {
	fields := route.GetMetadata().GetFilterMetadata()[choice].GetFields()
	return target{fields["route"].GetStringValue(), fields["upstream"].GetStringValue()}
}

func (t target) key() string { return t.group + choiceSeparator + t.upstream }

// checkChoice checks a route against the pools that its chain (nil: none) may choose. Without the filter a choice would
// have no effect; with it, and without a choice, Envoy would look for a route that does not exist.
func checkChoice(route *routev3.Route, chain *nodev1.Chain) error {
	packed, metadata := route.GetTypedPerFilterConfig()[choice], targetOf(route)
	if route.GetRoute() == nil || len(chain.GetUpstreams()) < 2 {
		if packed != nil || metadata != (target{}) {
			return fmt.Errorf("typed_per_filter_config, metadata: expected no %s, since no policy chooses a pool here", choice)
		}
		return nil
	}
	if packed == nil {
		return fmt.Errorf("typed_per_filter_config: expected %s, since the chain's policies choose between pools", choice)
	}
	config := &setstatev3.Config{}
	if err := packed.UnmarshalTo(config); err != nil {
		return fmt.Errorf("typed_per_filter_config[%s]: %w", choice, err)
	}
	if proto.Size(config) > 0 {
		return fmt.Errorf("typed_per_filter_config[%s]: expected an empty config, got %v", choice, config)
	}
	if metadata.group == "" || !slices.Contains(chain.GetUpstreams(), metadata.upstream) {
		return fmt.Errorf("metadata[%s]: expected a route and one of the upstreams %q, got %q and %q", choice, chain.GetUpstreams(), metadata.group, metadata.upstream)
	}
	return nil
}

// chosenRoutes are the routes of choices, by their keys.
type chosenRoutes struct {
	routes     map[string]*routev3.Route
	serialized chosen
}

func parseChosen(routes []*routev3.Route) (chosenRoutes, error) {
	result := chosenRoutes{map[string]*routev3.Route{}, chosen{}}
	anything := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	var errs []error
	for i, route := range routes {
		key := targetOf(route).key()
		switch {
		case targetOf(route).group == "":
			errs = append(errs, fmt.Errorf("chosen_routes[%d]: expected metadata %s, got none", i, choice))
		case !proto.Equal(route.GetMatch(), anything):
			errs = append(errs, fmt.Errorf(`chosen_routes[%d].match: expected prefix "/", got %v`, i, route.GetMatch()))
		case result.routes[key] != nil:
			errs = append(errs, fmt.Errorf("chosen_routes[%d]: expected each once, got %s twice", i, key))
		}
		text, err := marshal(&routev3.RouteList{Routes: []*routev3.Route{route}})
		errs = append(errs, err)
		result.routes[key], result.serialized[key] = route, text
	}
	return result, errors.Join(errs...)
}

// checkChoices checks that each route whose policies choose has a route for each pool, with the same chain, whose
// policies have run by then.
func checkChoices(routes []*routev3.Route, chains map[string]*nodev1.Chain, chosenRoutes chosenRoutes) error {
	var errs []error
	needed := map[string]bool{}
	for i, route := range routes {
		group := targetOf(route).group
		if group == "" {
			continue
		}
		for _, upstream := range chains[chainID(route)].GetUpstreams() {
			key := target{group, upstream}.key()
			needed[key] = true
			if chosen := chosenRoutes.routes[key]; chosen.GetName() != route.GetName() {
				errs = append(errs, fmt.Errorf("routes[%d]: expected a route of the same name in chosen_routes for %s, got %q", i, key, chosen.GetName()))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(chosenRoutes.routes)) {
		if !needed[key] {
			errs = append(errs, fmt.Errorf("chosen_routes: expected those alone that routes name, got also %s", key))
		}
	}
	return errors.Join(errs...)
}

var choiceInput = mustInput("choice", &inputsv3.FilterStateInput{Key: choice})

// choicesBefore matches the routes of choices, and only these, once a policy has chosen: whatever policies have changed in a
// request, no route with other policies than those that have run can match it.
func choicesBefore(tree *xdsmatcherv3.Matcher, choices chosen) *xdsmatcherv3.Matcher {
	if len(choices) == 0 {
		return tree
	}
	lists := make(map[string]*xdsmatcherv3.Matcher_OnMatch, len(choices))
	for key, list := range choices {
		lists[key] = serializedList(list)
	}
	byChoice := &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
			Input:    choiceInput,
			TreeType: &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: lists}},
		}},
		OnNoMatch: unknownChoice,
	}
	return &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: matches(choiceInput, &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Contains{Contains: choiceSeparator}}),
				OnMatch:   &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: byChoice}},
			}},
		}},
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: tree}},
	}
}

// unknownChoice answers an impossible choice: the engine refuses choices outside of the chain's pools.
var unknownChoice = func() *xdsmatcherv3.Matcher_OnMatch {
	route := answering("|500|", 500, "Internal Server Error", "The gateway has no such upstream.")
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	text, err := marshal(&routev3.RouteList{Routes: []*routev3.Route{route}})
	if err != nil {
		panic(err) // a constant message always serializes
	}
	return serializedList(text)
}()

func serializedList(text []byte) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{
		Name:        "routes",
		TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/envoy.config.route.v3.RouteList", Value: text},
	}}}
}
