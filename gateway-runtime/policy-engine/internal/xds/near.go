package xds

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Near is why a request has met no route, and what lies near.
type Near struct {
	API    string // whose context the path lies under; "": that of none
	Reason string // what goes on after "because"
	Cure   string
}

// What is listed, and looked at of a host (RFC 1035, section 2.3.4).
const (
	mostNear    = 3
	longestHost = 255
)

// NearTo says which host, context or operation of the bundles a request that met none of their routes may have been for. It
// names no API that the listener does not serve. path is without the query.
func NearTo(bundles []*Bundle, front Front, listener, authority, path string) Near {
	host := hostOf(authority[:min(len(authority), longestHost)])
	served := visible(bundles, listener, front.isInternal(listener))
	switch {
	case len(bundles) == 0:
		return Near{Reason: "no API is published on this node", Cure: "publish one: gatewright apply -f FILE"}
	case len(served) == 0:
		return Near{Reason: fmt.Sprintf("the listener %s serves no API", listener),
			Cure: "publish one that names it in spec.listeners: gatewright apply -f FILE"}
	}
	patterns := byPattern(served)
	owned := ownersOn(host, patterns)
	if len(owned) == 0 {
		hosts := make([]string, 0, len(patterns))
		for pattern := range patterns {
			hosts = append(hosts, pattern)
		}
		return Near{Reason: fmt.Sprintf("no API is published on the host %q", host),
			Cure: "ask for a host of an API (" + listNear(host, hosts) + "), or name this one in spec.hosts"}
	}
	context := ""
	contexts := make([]string, 0, len(owned))
	for candidate := range owned {
		contexts = append(contexts, candidate)
		if covers(candidate, path) && len(candidate) > len(context) {
			context = candidate
		}
	}
	if context == "" {
		return Near{Reason: fmt.Sprintf("no API has the path %s", path),
			Cure: "ask for a path under the context of an API (" + listNear(path, contexts) + "), or publish one"}
	}
	owner := owned[context][0]
	return Near{API: owner.API, Reason: fmt.Sprintf("no operation of the API %s (context %s) has the path %s", owner.API, context, path),
		Cure: "ask for one of its operations (" + listNear(strings.TrimPrefix(path, context), owner.Operations) + "), or add one"}
}

// covers reports whether a path lies under the context, by whole segments.
func covers(context, path string) bool {
	return context == "/" || path == context || strings.HasPrefix(path, context+"/")
}

// hostOf is an authority without its port and the dot at its end.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		authority = host
	}
	return strings.TrimSuffix(strings.ToLower(authority), ".")
}

// listNear lists the names that are nearest to a text, the nearest first.
func listNear(text string, names []string) string {
	type found struct {
		name     string
		distance int
	}
	all := make([]found, 0, len(names))
	for _, name := range names {
		_, path, isOperation := strings.Cut(name, " ")
		if !isOperation {
			path = name
		}
		all = append(all, found{name, distance(strings.ToLower(beginning(text, path)), strings.ToLower(path))})
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	shown := make([]string, 0, mostNear)
	for _, one := range all[:min(mostNear, len(all))] {
		shown = append(shown, one.name)
	}
	list := strings.Join(shown, ", ")
	if more := len(all) - len(shown); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return cmp.Or(list, "there is none")
}

// beginning is as many segments of a path as another one has.
func beginning(path, of string) string {
	segments := strings.SplitAfter(path, "/")
	return strings.TrimSuffix(strings.Join(segments[:min(len(segments), strings.Count(of, "/")+1)], ""), "/")
}

// longestCompared bounds the texts whose distance is counted.
const longestCompared = 100

// distance is the number of characters to insert, delete or replace that makes one text of the other (Levenshtein).
func distance(a, b string) int {
	a, b = a[:min(len(a), longestCompared)], b[:min(len(b), longestCompared)]
	row := make([]int, len(b)+1)
	for n := range row {
		row[n] = n
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
