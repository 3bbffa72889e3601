package xds

import (
	"cmp"
	"strings"
)

const everyHost = "*"

// rank orders host patterns as Envoy does: a name, then "*.a.example", then "a.*", then "*"; the longer first. Of the same
// pattern, what is served comes before what is not.
type rank struct{ kind, length, served int }

func (r rank) compare(other rank) int {
	return cmp.Or(cmp.Compare(r.kind, other.kind), cmp.Compare(r.length, other.length), cmp.Compare(r.served, other.served))
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

// bestRank returns the rank of the most specific of the patterns that cover host, itself a name or a pattern.
func bestRank(patterns []string, host string) (best rank, covered bool) {
	for _, pattern := range patterns {
		if r := rankOf(pattern); covers(pattern, host) && (!covered || r.compare(best) > 0) {
			best, covered = r, true
		}
	}
	return best, covered
}

// covers reports whether all that host, a name or a pattern, matches is matched by pattern.
func covers(pattern, host string) bool {
	switch {
	case pattern == host || pattern == everyHost:
		return true
	case strings.HasPrefix(pattern, "*"):
		return len(host) >= len(pattern) && !strings.HasSuffix(host, "*") && strings.HasSuffix(host, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return len(host) >= len(pattern) && !strings.HasPrefix(host, "*") && strings.HasPrefix(host, pattern[:len(pattern)-1])
	default:
		return false
	}
}
