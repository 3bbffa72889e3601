package exchange

import "strings"

// RouteParts splits a route's name: API|OPERATION|CHAIN; all "" if it has another form. An operation may contain "|".
func RouteParts(route string) (api, operation, chainID string) {
	first, last := strings.IndexByte(route, '|'), strings.LastIndexByte(route, '|')
	if first <= 0 || first == last {
		return "", "", ""
	}
	return route[:first], route[first+1 : last], route[last+1:]
}
