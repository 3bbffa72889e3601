package xds

import (
	"maps"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The fields of serialized matchers, from the outside in.
var (
	hostsField   = fieldOf(&routev3.RouteConfiguration{}, "virtual_hosts")
	matcherField = fieldOf(&routev3.VirtualHost{}, "matcher")

	listField      = fieldOf(&xdsmatcherv3.Matcher{}, "matcher_list")
	treeField      = fieldOf(&xdsmatcherv3.Matcher{}, "matcher_tree")
	noMatchField   = fieldOf(&xdsmatcherv3.Matcher{}, "on_no_match")
	inputField     = fieldOf(&xdsmatcherv3.Matcher_MatcherTree{}, "input")
	prefixesField  = fieldOf(&xdsmatcherv3.Matcher_MatcherTree{}, "prefix_match_map")
	exactsField    = fieldOf(&xdsmatcherv3.Matcher_MatcherTree{}, "exact_match_map")
	entryField     = fieldOf(&xdsmatcherv3.Matcher_MatcherTree_MatchMap{}, "map")
	matchersField  = fieldOf(&xdsmatcherv3.Matcher_MatcherList{}, "matchers")
	predicateField = fieldOf(&xdsmatcherv3.Matcher_MatcherList_FieldMatcher{}, "predicate")
	onMatchField   = fieldOf(&xdsmatcherv3.Matcher_MatcherList_FieldMatcher{}, "on_match")
	nestedField    = fieldOf(&xdsmatcherv3.Matcher_OnMatch{}, "matcher")
	actionField    = fieldOf(&xdsmatcherv3.Matcher_OnMatch{}, "action")
	configField    = fieldOf(&xdscorev3.TypedExtensionConfig{}, "typed_config")
	valueField     = fieldOf(&anypb.Any{}, "value")
)

// The fields of an entry of a map: https://protobuf.dev/programming-guides/encoding/#maps.
const (
	entryKey   = 1
	entryValue = 2
)

const routeListType = "type.googleapis.com/envoy.config.route.v3.RouteList"

// onMatch is a serialized Matcher.OnMatch, matcher a serialized Matcher.
type (
	onMatch rope
	matcher rope
)

// toMatcher goes on with another matcher.
func toMatcher(next matcher) onMatch { return onMatch(rope(next).in(nestedField)) }

// toRoutes finds the route among serialized lists: protobuf joins the repeated fields of concatenated messages.
func toRoutes(lists ...[]byte) onMatch {
	anyRoutes := concat(serialized(&anypb.Any{TypeUrl: routeListType}), ropeOf(lists...).in(valueField))
	action := concat(serialized(&xdscorev3.TypedExtensionConfig{Name: "routes"}), anyRoutes.in(configField))
	return onMatch(action.in(actionField))
}

// otherwise returns the matcher with what happens to the requests that it does not match.
func (m matcher) otherwise(next onMatch) matcher {
	return matcher(concat(rope(m), rope(next).in(noMatchField)))
}

// isEmpty reports whether there is no matcher.
func (m matcher) isEmpty() bool { return m.size == 0 }

// firstOf tries predicates in order.
func firstOf(fields ...rope) matcher {
	list := make([]rope, len(fields))
	for n, field := range fields {
		list[n] = field.in(matchersField)
	}
	return matcher(concat(list...).in(listField))
}

// ifMatches is one of firstOf's fields.
func ifMatches(predicate *xdsmatcherv3.Matcher_MatcherList_Predicate, next onMatch) rope {
	return concat(serialized(predicate).in(predicateField), rope(next).in(onMatchField))
}

// byPrefix finds the entry, from entryOf, with the longest prefix of the path.
func byPrefix(entries []rope) matcher {
	tree := concat(serialized(pathInput).in(inputField), concat(entries...).in(prefixesField))
	return matcher(tree.in(treeField))
}

// byValue finds the entry of an input's value.
func byValue(input proto.Message, next map[string]onMatch) matcher {
	entries := make([]rope, 0, len(next))
	for _, key := range slices.Sorted(maps.Keys(next)) {
		entries = append(entries, entryOf(key, next[key]))
	}
	tree := concat(serialized(input).in(inputField), concat(entries...).in(exactsField))
	return matcher(tree.in(treeField))
}

func entryOf(key string, next onMatch) rope {
	return concat(ropeOf([]byte(key)).in(entryKey), rope(next).in(entryValue)).in(entryField)
}
