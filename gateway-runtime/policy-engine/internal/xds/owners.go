package xds

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
)

// owners are the bundles that own each context on a host, by API; one, but while two change places.
type owners map[string][]*Bundle

// byPattern are the bundles by their host patterns: a host asks those that may cover it, and no others.
func byPattern(bundles []*Bundle) map[string][]*Bundle {
	patterns := map[string][]*Bundle{}
	for _, bundle := range bundles {
		for _, host := range bundle.Hosts {
			patterns[host] = append(patterns[host], bundle)
		}
	}
	return patterns
}

// ownersOn says which bundles own each context on a host: those with the most specific of the patterns that cover it;
// of the same pattern, what is served comes before what is not.
func ownersOn(host string, patterns map[string][]*Bundle) owners {
	owned := owners{}
	for _, pattern := range covering(host, patterns) {
		claimed := owners{}
		for _, bundle := range patterns[pattern] {
			if owned[bundle.Context] == nil {
				claimed.add(bundle)
			}
		}
		maps.Copy(owned, claimed)
	}
	return owned
}

func (o owners) add(bundle *Bundle) {
	switch others := o[bundle.Context]; {
	case len(others) == 0 || others[0].unserved == bundle.unserved:
		o[bundle.Context] = append(others, bundle)
		slices.SortFunc(o[bundle.Context], func(a, b *Bundle) int { return cmp.Compare(a.API, b.API) })
	case others[0].unserved:
		o[bundle.Context] = []*Bundle{bundle}
	}
}

// key says which bundles these are: each stands at its own context.
func (o owners) key() string {
	var names []string
	for context, bundles := range o {
		for _, bundle := range bundles {
			names = append(names, context+" "+bundle.API)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// tree is a prefix tree from contexts to routes. under: what was made for bundles that are alone at their contexts, since
// those of every host stand on each one. unclaimed: what becomes of a path that lies under no context; nil: the next matcher
// is asked, and without one it is Envoy's 404.
func (o owners) tree(under map[*Bundle]*xdsmatcherv3.Matcher_OnMatch, unclaimed *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	tree, choices := make(map[string]*xdsmatcherv3.Matcher_OnMatch, len(o)), chosen{}
	for context, bundles := range o {
		for _, bundle := range bundles {
			maps.Copy(choices, bundle.chosen)
		}
		if len(bundles) > 1 {
			tree[context] = underContext(context, bundles)
			continue
		}
		if under[bundles[0]] == nil {
			under[bundles[0]] = underContext(context, bundles)
		}
		tree[context] = under[bundles[0]]
	}
	made := prefixTree(tree)
	made.OnNoMatch = unclaimed
	return choicesBefore(made, choices)
}
