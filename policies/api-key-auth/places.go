package apikeyauth

import (
	"net/url"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// places are the names of the header, the query parameter and the cookie with the key; "" for none.
type places struct{ header, query, cookie string }

// find returns the last key of the request, and the number of keys.
func (p places) find(req *v1alpha.RequestContext) (key string, count int) {
	add := func(value string) {
		key = value
		count++
	}
	if p.header != "" {
		for value := range req.Headers.Values(p.header) {
			add(value)
		}
	}
	if p.query != "" && req.Query != "" {
		for part := range strings.SplitSeq(req.Query, "&") {
			if value, ok := p.inQuery(part); ok {
				add(value)
			}
		}
	}
	if p.cookie != "" {
		for line := range req.Headers.Values("cookie") {
			for part := range strings.SplitSeq(line, ";") {
				if value, ok := p.inCookie(part); ok {
					add(value)
				}
			}
		}
	}
	return key, count
}

// inQuery returns the key in a part of the query. ok is false if the part is another parameter, or its name cannot be decoded.
func (p places) inQuery(part string) (value string, ok bool) {
	name, value, _ := strings.Cut(part, "=")
	if decoded, err := url.QueryUnescape(name); err != nil || decoded != p.query {
		return "", false
	}
	decoded, err := url.QueryUnescape(value)
	if err != nil {
		return "", true
	}
	return decoded, true
}

func (p places) inCookie(part string) (value string, ok bool) {
	name, value, _ := strings.Cut(part, "=")
	return strings.TrimSpace(value), strings.TrimSpace(name) == p.cookie
}

// remove removes the key from the request, and leaves all else unchanged.
func (p places) remove(req *v1alpha.RequestContext, modifications *v1alpha.UpstreamRequestModifications) {
	if p.header != "" && req.Headers.Has(p.header) {
		modifications.Headers.Remove = append(modifications.Headers.Remove, p.header)
	}
	if p.query != "" && req.Query != "" {
		rest := removeParts(req.Query, "&", func(part string) bool { _, ok := p.inQuery(part); return ok })
		if rest != req.Query {
			modifications.Query = &rest
		}
	}
	if p.cookie != "" && req.Headers.Has("cookie") {
		p.removeCookie(req, modifications)
	}
}

func (p places) removeCookie(req *v1alpha.RequestContext, modifications *v1alpha.UpstreamRequestModifications) {
	var lines []v1alpha.Header
	changed := false
	for line := range req.Headers.Values("cookie") {
		rest := strings.TrimSpace(removeParts(line, ";", func(part string) bool { _, ok := p.inCookie(part); return ok }))
		changed = changed || rest != line
		if rest != "" {
			lines = append(lines, v1alpha.Header{Name: "cookie", Value: rest})
		}
	}
	switch {
	case changed && len(lines) == 0:
		modifications.Headers.Remove = append(modifications.Headers.Remove, "cookie")
	case changed:
		modifications.Headers.Set = append(modifications.Headers.Set, lines...)
	}
}

// removeParts removes the parts of a text, between separators, for which isKey is true.
func removeParts(text, separator string, isKey func(part string) bool) string {
	parts := strings.Split(text, separator)
	rest := parts[:0]
	for _, part := range parts {
		if !isKey(part) {
			rest = append(rest, part)
		}
	}
	return strings.Join(rest, separator)
}
