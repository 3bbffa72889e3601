package xds

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// owners are the bundles that own each context on a host, by API; usually one, two while one replaces the other.
type owners map[string][]*Bundle

// byPattern groups the bundles by their host patterns, so that a host looks up only those that may cover it.
func byPattern(bundles []*Bundle) map[string][]*Bundle {
	patterns := map[string][]*Bundle{}
	for _, bundle := range bundles {
		for _, host := range bundle.Hosts {
			patterns[host] = append(patterns[host], bundle)
		}
	}
	return patterns
}

// ownersOn returns the bundles that own each context on a host: those with the most specific of the patterns that cover it;
// of the same pattern, served bundles come before unserved ones.
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
	switch current := o[bundle.Context]; {
	case len(current) == 0 || current[0].unserved == bundle.unserved:
		o[bundle.Context] = append(current, bundle)
		slices.SortFunc(o[bundle.Context], func(a, b *Bundle) int { return cmp.Compare(a.API, b.API) })
	case current[0].unserved:
		o[bundle.Context] = []*Bundle{bundle}
	}
}

// key identifies the bundles; the context of each is part of it.
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

// tree returns a prefix tree from contexts to routes. unclaimed answers a path in no context; empty: the next matcher does, and
// without one it is Envoy's 404.
func (o owners) tree(unclaimed onMatch) matcher {
	entries, choices := make([]rope, 0, len(o)), chosen{}
	var beginnings []string // of the context, among those before it
	for _, context := range slices.Sorted(maps.Keys(o)) {
		for len(beginnings) > 0 && !strings.HasPrefix(context, beginnings[len(beginnings)-1]) {
			beginnings = beginnings[:len(beginnings)-1]
		}
		for _, bundle := range o[context] {
			maps.Copy(choices, bundle.chosen)
		}
		entries = append(entries, entryOfOwners(context, o[context], len(beginnings) > 0))
		beginnings = append(beginnings, context)
	}
	tree := byPrefix(entries)
	if unclaimed.size > 0 {
		tree = tree.otherwise(unclaimed)
	}
	return choicesBefore(tree, choices)
}

// entryOfOwners returns the entry of a context. hasShorter: another context of the tree is the beginning of it, for which
// paths are that continue within a segment.
func entryOfOwners(context string, bundles []*Bundle, hasShorter bool) rope {
	if len(bundles) == 1 && (bundles[0].Table == nil || !hasShorter) {
		return ropeOf(bundles[0].entry)
	}
	lists := make([][]byte, 0, len(bundles))
	for _, bundle := range bundles {
		lists = append(lists, bundle.routes())
	}
	return contextEntry(context, lists...)
}
