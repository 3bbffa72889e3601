package chain

import (
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// pathTemplate finds the parameters of an operation in paths that match it. The proxy decides which paths match: they
// have as many segments as the template, or more if it ends in `*`, and a parameter is one segment of any text.
type pathTemplate []placedParam

type placedParam struct {
	name    string
	segment int // of the path, from 0
}

// newPathTemplate parses the path of an operation, "GET /{id}" or "GET /{id} [x-version=2]", under the API's context.
func newPathTemplate(context, operation string) (params pathTemplate) {
	_, template, _ := strings.Cut(operation, " ")
	template, _, _ = strings.Cut(template, " ")
	first := strings.Count(strings.TrimSuffix(context, "/"), "/")
	for n, segment := range strings.Split(strings.TrimPrefix(template, "/"), "/") {
		if len(segment) > 2 && segment[0] == '{' && segment[len(segment)-1] == '}' {
			params = append(params, placedParam{name: segment[1 : len(segment)-1], segment: first + n})
		}
	}
	return params
}

// paramsOf returns the parameters of a path without its query; nil if the template has none.
func (t pathTemplate) paramsOf(path string) v1alpha.PathParams {
	if len(t) == 0 {
		return nil
	}
	params := make(v1alpha.PathParams, 0, len(t))
	at, rest := 0, strings.TrimPrefix(path, "/")
	for _, param := range t {
		for ; at < param.segment; at++ {
			_, rest, _ = strings.Cut(rest, "/")
		}
		segment, _, _ := strings.Cut(rest, "/")
		if segment != "" {
			params = append(params, v1alpha.PathParam{Name: param.name, Encoded: segment})
		}
	}
	return params
}
