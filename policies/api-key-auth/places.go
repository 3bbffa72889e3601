package apikeyauth

import (
	"net/url"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// places are where a key may be; "": nowhere.
type places struct{ header, query, cookie string }

// find returns a key of the request, and how many there are.
func (p places) find(req *v1alpha.RequestContext) (key string, count int) {
	found := func(value string) {
		key = value
		count++
	}
	if p.header != "" {
		for value := range req.Headers.Values(p.header) {
			found(value)
		}
	}
	if p.query != "" && req.Query != "" {
		for part := range strings.SplitSeq(req.Query, "&") {
			if value, ok := p.inQuery(part); ok {
				found(value)
			}
		}
	}
	if p.cookie != "" {
		for line := range req.Headers.Values("cookie") {
			for part := range strings.SplitSeq(line, ";") {
				if value, ok := p.inCookie(part); ok {
					found(value)
				}
			}
		}
	}
	return key, count
}

// inQuery is the value of a parameter, if it is the key's. What cannot be decoded is nobody's key.
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

// remove takes the key out of the request, and leaves all else as it came.
func (p places) remove(req *v1alpha.RequestContext, made *v1alpha.UpstreamRequestModifications) {
	if p.header != "" && req.Headers.Has(p.header) {
		made.Headers.Remove = append(made.Headers.Remove, p.header)
	}
	if p.query != "" && req.Query != "" {
		kept := without(req.Query, "&", func(part string) bool { _, is := p.inQuery(part); return is })
		if kept != req.Query {
			made.Query = &kept
		}
	}
	if p.cookie != "" && req.Headers.Has("cookie") {
		p.removeCookie(req, made)
	}
}

func (p places) removeCookie(req *v1alpha.RequestContext, made *v1alpha.UpstreamRequestModifications) {
	var lines []v1alpha.Header
	changed := false
	for line := range req.Headers.Values("cookie") {
		kept := strings.TrimSpace(without(line, ";", func(part string) bool { _, is := p.inCookie(part); return is }))
		changed = changed || kept != line
		if kept != "" {
			lines = append(lines, v1alpha.Header{Name: "cookie", Value: kept})
		}
	}
	switch {
	case changed && len(lines) == 0:
		made.Headers.Remove = append(made.Headers.Remove, "cookie")
	case changed:
		made.Headers.Set = append(made.Headers.Set, lines...)
	}
}

// without are the parts of a text, between separators, that are not the key's.
func without(text, separator string, isKey func(part string) bool) string {
	parts := strings.Split(text, separator)
	kept := parts[:0]
	for _, part := range parts {
		if !isKey(part) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, separator)
}
