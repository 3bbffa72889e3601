package exchange

import "strings"

// RouteParts are those of a route's name: API|OPERATION|CHAIN; all "" where it has another. An operation may have "|" in it.
func RouteParts(route string) (api, operation, chainID string) {
	first, last := strings.IndexByte(route, '|'), strings.LastIndexByte(route, '|')
	if first <= 0 || first == last {
		return "", "", ""
	}
	return route[:first], route[first+1 : last], route[last+1:]
}
