package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	setstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// chosen are the routes of pools that policies choose between, as serialized RouteLists, by GROUP/POOL.
type chosen map[string][]byte

// target is a route's metadata of choices: the group of routes of one choice, and the pool of this route.
type target struct{ group, upstream string }

func targetOf(route *routev3.Route) target {
	fields := route.GetMetadata().GetFilterMetadata()[envoynames.ChoiceFilter].GetFields()
	return target{fields[envoynames.ChoiceRouteKey].GetStringValue(), fields[envoynames.ChoiceUpstreamKey].GetStringValue()}
}

func (t target) key() string { return t.group + envoynames.ChoiceSeparator + t.upstream }

// checkChoice checks a route against the pools that its chain (nil: none) may choose. Without the filter a choice would
// have no effect; with it, and without a choice, Envoy would look for a route that does not exist.
func checkChoice(route *routev3.Route, chain *nodev1.Chain) error {
	packed, metadata := route.GetTypedPerFilterConfig()[envoynames.ChoiceFilter], targetOf(route)
	if route.GetRoute() == nil || len(chain.GetUpstreams()) < 2 {
		if packed != nil || metadata != (target{}) {
			return fmt.Errorf("typed_per_filter_config, metadata: expected no %s, since no policy chooses a pool here", envoynames.ChoiceFilter)
		}
		return nil
	}
	if packed == nil {
		return fmt.Errorf("typed_per_filter_config: expected %s, since the chain's policies choose between pools", envoynames.ChoiceFilter)
	}
	config := &setstatev3.Config{}
	if err := packed.UnmarshalTo(config); err != nil {
		return fmt.Errorf("typed_per_filter_config[%s]: %w", envoynames.ChoiceFilter, err)
	}
	if proto.Size(config) > 0 {
		return fmt.Errorf("typed_per_filter_config[%s]: expected an empty config, got %v", envoynames.ChoiceFilter, config)
	}
	if metadata.group == "" || !slices.Contains(choicesOf(chain), metadata.upstream) {
		return fmt.Errorf("metadata[%s]: expected a route and one of the upstreams %q, got %q and %q", envoynames.ChoiceFilter, choicesOf(chain), metadata.group, metadata.upstream)
	}
	return nil
}

// choicesOf returns what policies of a chain may choose: its upstreams, and several of them.
func choicesOf(chain *nodev1.Chain) []string {
	if !chain.GetFailover() {
		return chain.GetUpstreams()
	}
	return append(slices.Clone(chain.GetUpstreams()), envoynames.FailoverChoice)
}

// chosenRoutes are the routes of choices, by their keys.
type chosenRoutes struct {
	routes     map[string]*routev3.Route
	serialized chosen
}

func parseChosen(routes []*routev3.Route, engine Engine) (chosenRoutes, error) {
	result := chosenRoutes{map[string]*routev3.Route{}, chosen{}}
	anything := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	var errs []error
	for i, route := range routes {
		key := targetOf(route).key()
		switch {
		case targetOf(route).group == "":
			errs = append(errs, fmt.Errorf("chosen_routes[%d]: expected metadata %s, got none", i, envoynames.ChoiceFilter))
		case !proto.Equal(route.GetMatch(), anything):
			errs = append(errs, fmt.Errorf(`chosen_routes[%d].match: expected prefix "/", got %v`, i, route.GetMatch()))
		case result.routes[key] != nil:
			errs = append(errs, fmt.Errorf("chosen_routes[%d]: expected each once, got %s twice", i, key))
		}
		errs = append(errs, engine.place(route))
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
		for _, upstream := range choicesOf(chains[chainID(route)]) {
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

var choiceInput = mustInput("choice", &inputsv3.FilterStateInput{Key: envoynames.ChoiceFilter})

// choicesBefore matches the routes of choices, and only these, once a policy has chosen: whatever policies have changed in a
// request, no route with other policies than those that have run can match it.
func choicesBefore(tree matcher, choices chosen) matcher {
	if len(choices) == 0 {
		return tree
	}
	lists := make(map[string]onMatch, len(choices))
	for key, list := range choices {
		lists[key] = toRoutes(list)
	}
	isChosen := matches(choiceInput, &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Contains{Contains: envoynames.ChoiceSeparator}})
	byChoice := byValue(choiceInput, lists).otherwise(unknownChoice)
	return firstOf(ifMatches(isChosen, toMatcher(byChoice))).otherwise(toMatcher(tree))
}

// unknownChoice answers an impossible choice: the engine refuses choices outside of the chain's pools.
var unknownChoice = func() onMatch {
	route := answering(refusalName("", 500), 500, "Internal Server Error", "The gateway has no such upstream.")
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	return alwaysRoutes(route)
}()
