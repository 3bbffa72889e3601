package xds

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Near explains why a request has matched no route, with the nearest alternatives.
type Near struct {
	API    string // the API whose context contains the path; "": none
	Reason string // continues a sentence after "because"
	Cure   string
}

// The number of alternatives that are listed, and the longest host that is compared (RFC 1035, section 2.3.4).
const (
	mostNear    = 3
	longestHost = 255
)

// NearTo returns the host, context or operation of the bundles that a request without a route may have meant. It
// names only APIs that the listener serves. path is without the query.
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
			Cure: "request a path under the context of an API (" + listNear(path, contexts) + "), or publish one"}
	}
	owner := owned[context][0]
	return Near{API: owner.API, Reason: fmt.Sprintf("no operation of the API %s (context %s) has the path %s", owner.API, context, path),
		Cure: "ask for one of its operations (" + listNear(strings.TrimPrefix(path, context), owner.Operations) + "), or add one"}
}

// covers reports whether a context contains a path, by whole segments.
func covers(context, path string) bool {
	return context == "/" || path == context || strings.HasPrefix(path, context+"/")
}

// hostOf returns an authority without its port and final dot.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		authority = host
	}
	return strings.TrimSuffix(strings.ToLower(authority), ".")
}

// listNear lists the names that are nearest to a text, the nearest first.
func listNear(text string, names []string) string {
	type candidate struct {
		name     string
		distance int
	}
	ranked := make([]candidate, 0, len(names))
	for _, name := range names {
		_, path, isOperation := strings.Cut(name, " ")
		if !isOperation {
			path = name
		}
		ranked = append(ranked, candidate{name, distance(strings.ToLower(beginning(text, path)), strings.ToLower(path))})
	}
	slices.SortFunc(ranked, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	shown := make([]string, 0, mostNear)
	for _, c := range ranked[:min(mostNear, len(ranked))] {
		shown = append(shown, c.name)
	}
	list := strings.Join(shown, ", ")
	if rest := len(ranked) - len(shown); rest > 0 {
		list += fmt.Sprintf(" and %d more", rest)
	}
	return cmp.Or(list, "there is none")
}

// beginning returns the first segments of a path, as many as another path has.
func beginning(path, of string) string {
	segments := strings.SplitAfter(path, "/")
	return strings.TrimSuffix(strings.Join(segments[:min(len(segments), strings.Count(of, "/")+1)], ""), "/")
}

// longestCompared bounds the texts whose distance is computed.
const longestCompared = 100

// distance returns the Levenshtein distance: the number of characters to insert, delete or replace between two texts.
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
