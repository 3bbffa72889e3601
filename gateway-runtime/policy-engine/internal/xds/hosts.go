package xds

import (
	"cmp"
	"slices"
	"strings"
)

const everyHost = "*"

// rank orders host patterns as Envoy does: a name, then "*.a.example", then "a.*", then "*"; the longer first.
type rank struct{ kind, length int }

func (r rank) compare(other rank) int {
	return cmp.Or(cmp.Compare(r.kind, other.kind), cmp.Compare(r.length, other.length))
}

func rankOf(pattern string) rank {
	switch {
	case pattern == everyHost:
		return rank{kind: 0, length: 1}
	case strings.HasSuffix(pattern, "*"):
		return rank{kind: 1, length: len(pattern)}
	case strings.HasPrefix(pattern, "*"):
		return rank{kind: 2, length: len(pattern)}
	default:
		return rank{kind: 3, length: len(pattern)}
	}
}

// covering are the patterns, of those that there are, that match all that host matches: itself a name or a pattern. The
// most specific first. It looks up what may be one, whatever the number of patterns.
func covering[T any](host string, patterns map[string]T) []string {
	var found []string
	for _, candidate := range candidates(host) {
		if _, there := patterns[candidate]; there {
			found = append(found, candidate)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return rankOf(b).compare(rankOf(a)) })
	return found
}

// candidates are the patterns that can cover a host: it, and with a star in place of its beginning or its end.
func candidates(host string) []string {
	all := []string{host}
	for at := range host {
		if at > 0 && !strings.HasSuffix(host, "*") {
			all = append(all, "*"+host[at:])
		}
		if at > 0 && !strings.HasPrefix(host, "*") {
			all = append(all, host[:at]+"*")
		}
	}
	if host != everyHost {
		all = append(all, everyHost)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
