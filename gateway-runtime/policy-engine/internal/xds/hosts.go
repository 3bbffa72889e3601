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

// covering returns those of the patterns that match every host that host, a name or a pattern, matches. The
// most specific comes first. Its cost does not depend on the number of patterns.
func covering[T any](host string, patterns map[string]T) []string {
	var result []string
	for _, candidate := range candidates(host) {
		if _, ok := patterns[candidate]; ok {
			result = append(result, candidate)
		}
	}
	slices.SortFunc(result, func(a, b string) int { return rankOf(b).compare(rankOf(a)) })
	return result
}

// candidates returns the patterns that can cover a host: itself, and with a star in place of its beginning or its end.
func candidates(host string) []string {
	list := []string{host}
	for at := range host {
		if at > 0 && !strings.HasSuffix(host, "*") {
			list = append(list, "*"+host[at:])
		}
		if at > 0 && !strings.HasPrefix(host, "*") {
			list = append(list, host[:at]+"*")
		}
	}
	if host != everyHost {
		list = append(list, everyHost)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
