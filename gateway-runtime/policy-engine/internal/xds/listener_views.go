package xds

import (
	"slices"
	"strings"

	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
)

var listenerInput = mustInput("listener", &inputsv3.FilterStateInput{Key: envoynames.ListenerState})

// Front is the Gateway's part of the routes. It is comparable: routes of equal fronts are equal.
type Front struct {
	challenges bool
	internal   string
}

// NewFront makes a Front. challenges: the controller answers ACME's challenges on every host, before any API. internal: names
// of listeners that serve only the APIs that name them.
func NewFront(challenges bool, internal []string) Front {
	return Front{challenges, strings.Join(slices.Sorted(slices.Values(internal)), "\n")}
}

// isInternal reports whether a listener serves only the APIs that name it.
func (f Front) isInternal(listener string) bool {
	return slices.Contains(strings.Split(f.internal, "\n"), listener) && listener != ""
}

// listenerView has the bundles that clients of a listener can reach, by host pattern. listener "" stands for every listener
// without a view of its own.
type listenerView struct {
	listener string
	patterns map[string][]*Bundle
}

// viewsOf returns the view of every listener first, then those of listeners that a bundle names or that are internal.
func viewsOf(bundles []*Bundle, internal string) []listenerView {
	var internals, names []string
	if internal != "" {
		internals = strings.Split(internal, "\n")
	}
	names = slices.Clone(internals)
	for _, bundle := range bundles {
		names = append(names, bundle.Listeners...)
	}
	slices.Sort(names)
	views := []listenerView{{"", byPattern(visible(bundles, "", false))}}
	for _, name := range slices.Compact(names) {
		views = append(views, listenerView{name, byPattern(visible(bundles, name, slices.Contains(internals, name)))})
	}
	return views
}

func visible(bundles []*Bundle, listener string, internal bool) []*Bundle {
	var seen []*Bundle
	for _, bundle := range bundles {
		if len(bundle.Listeners) == 0 && !internal || slices.Contains(bundle.Listeners, listener) {
			seen = append(seen, bundle)
		}
	}
	return seen
}

// ownersIn returns the owners of a host in each of the views, and a key that identifies them.
func ownersIn(views []listenerView, host string) (all []owners, key string) {
	keys := make([]string, 0, len(views))
	for _, view := range views {
		owned := ownersOn(host, view.patterns)
		all, keys = append(all, owned), append(keys, owned.key())
	}
	return all, strings.Join(keys, "\n\n")
}

// treeOf matches by the tree of the connection's listener if that has one, otherwise by the common tree. If all views agree,
// there is one tree, and the listener is not matched.
func treeOf(views []listenerView, all []owners) matcher {
	every, own := all[0], map[string]onMatch{}
	for i, owned := range all[1:] {
		if owned.key() != every.key() {
			own[views[i+1].listener] = owned.onMatch(noRoutes)
		}
	}
	if len(own) == 0 {
		return every.tree(onMatch{})
	}
	return byValue(listenerInput, own).otherwise(every.onMatch(onMatch{}))
}

// noRoutes is Envoy's 404. Without it, Envoy would continue with the common tree where a listener's own tree has no match.
var noRoutes = toRoutes()

// onMatch returns the tree, or Envoy's 404 if there are no owners.
func (o owners) onMatch(unclaimed onMatch) onMatch {
	if len(o) == 0 {
		return noRoutes
	}
	return toMatcher(o.tree(unclaimed))
}
